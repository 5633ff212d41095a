"""The command-line entry points: training with calibration, evaluation, reports; nothing imports it."""

import os

# OpenMP's threads would spin while they wait and so take each other's cores on a busy machine, where a
# training step then takes many times as long instead of twice. OpenMP reads this when PyTorch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import align3d.console.interrupts  # noqa: F401 - Ctrl-C while the command imports what it needs
