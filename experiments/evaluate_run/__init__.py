"""Evaluation of a finished run: its model on its own test split or on shapes of another source."""
