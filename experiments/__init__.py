"""The command-line entry points: training with calibration, evaluation, reports; nothing imports it."""
