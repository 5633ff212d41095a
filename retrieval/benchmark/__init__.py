"""Recall and speed curves of engines, and synthetic data to draw them on."""
