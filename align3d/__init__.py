"""Text-3D pairs: sources of shapes and captions, and the dataset that is built from them."""

from align3d.errors import DataError, RejectedItem
from align3d.record import Record, Rejection
from align3d.sources import SOURCES, Item, Source, make_source

__all__ = ["SOURCES", "DataError", "Item", "Record", "RejectedItem", "Rejection", "Source", "make_source"]
