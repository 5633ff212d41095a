"""Agents from Stable-Baselines3's algorithms."""
