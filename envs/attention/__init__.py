"""Evaluation of HAF under a calibration, from cached per-episode quantities."""
