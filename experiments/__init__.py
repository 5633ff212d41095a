"""The command-line entry points: training with calibration, evaluation, reports; nothing imports it."""

import align3d.console.interrupts  # noqa: F401 - Ctrl-C while the command imports what it needs
