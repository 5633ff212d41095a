"""Text-3D pairs: sources of shapes and captions, and the dataset that is built from them.

Building is in :mod:`align3d.build`, which is also a command.
"""

import align3d.working_folder

# isort: split
import align3d.console.interrupts  # noqa: F401 - before what is slow to import

# isort: split
from align3d.captions import normalize_caption
from align3d.dataset import ShapeDataset
from align3d.errors import DataError, RejectedItem
from align3d.record import Record, Rejection
from align3d.sources import SOURCES, Item, Source, make_source
from align3d.splits import split_indices

__all__ = [
    "SOURCES",
    "DataError",
    "Item",
    "Record",
    "RejectedItem",
    "Rejection",
    "ShapeDataset",
    "Source",
    "make_source",
    "normalize_caption",
    "split_indices",
]
