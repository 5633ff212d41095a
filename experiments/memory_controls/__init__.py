"""The parts of ``python -m experiments.memory``."""
