"""Evaluation of a trained run: retrieval, grounding, pictures."""
