"""The parts of ``python -m experiments.retrieval``."""
