"""Shifted shapes: what may happen to a shape between training and use, by name and level."""

import align3d.shifts.acquisition
import align3d.shifts.modelnet_c  # noqa: F401 - importing a module registers its shifts
from align3d.shifts.cloud import Cloud
from align3d.shifts.shift_registry import CLEAN, SHIFTS, Shift, parse_shift, register_shift
from align3d.shifts.shifted_dataset import ShiftedDataset

__all__ = ["CLEAN", "SHIFTS", "Cloud", "Shift", "ShiftedDataset", "parse_shift", "register_shift"]
