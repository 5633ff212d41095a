"""The command-line entry points: training with calibration, evaluation, reports; nothing imports it."""

import os

# OpenMP's threads spin for milliseconds while they wait and so take each other's cores on a busy machine: a
# training step takes many times as long there. Sleeping at once (OMP_WAIT_POLICY=PASSIVE) doubles a step
# of a small model on an idle machine; a thousand turns are some microseconds. Read as PyTorch is loaded.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import align3d.console.interrupts  # noqa: F401 - Ctrl-C while the command imports what it needs
