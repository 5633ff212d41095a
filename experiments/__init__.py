"""The command-line entry points: training with calibration, evaluation, reports; nothing imports it."""

import os
import sys

# ``python -m`` puts the working folder before what is installed, and a folder of downloads may hold a
# yaml.py. Unless it is the checkout, it is taken out; `align3d.own_modules` puts it back for modules that a
# command names.
_HERE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
if sys.argv[:1] == ["-m"] and not sys.flags.safe_path and os.path.realpath(sys.path[0]) != _HERE:
    del sys.path[0]

# OpenMP's threads spin for milliseconds while they wait and so take each other's cores on a busy machine: a
# training step takes many times as long there. Sleeping at once (OMP_WAIT_POLICY=PASSIVE) doubles a step
# of a small model on an idle machine; a thousand turns are some microseconds. Read as PyTorch is loaded.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import align3d.console.interrupts  # noqa: E402, F401 - Ctrl-C while the command imports what it needs
