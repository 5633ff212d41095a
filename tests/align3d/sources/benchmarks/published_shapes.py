"""Small shapes for files in the formats of the benchmarks, and how a source's records are got."""

from pathlib import Path
from typing import Any

import numpy as np

from align3d.errors import RejectedItem
from align3d.record import Record, check_record
from align3d.sources import make_source

#: No two of these points can change places under a turn, and a mirror image is not the same shape.
CORNERS = np.array([[0, 0, 0], [1, 0, 0], [0, 3, 0], [0, 0, 7]], dtype=np.float32)
SHADES = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], dtype=np.uint8)


def read(root: Path, name: str, points: int = 4, **settings: Any) -> tuple[dict[str, Record], dict[str, str]]:
    """Records of a benchmark by id, and the reasons of what is rejected."""
    source = make_source(name, root=str(root), **settings)
    records, rejected = {}, {}
    for item in source.items():
        try:
            records[item.id] = source.read(item, points, 0)
            check_record(records[item.id], points)
        except RejectedItem as error:
            records.pop(item.id, None)
            rejected[item.id] = error.reason
    return records, rejected


def by_color(record: Record) -> np.ndarray:
    """The points of a record whose colors are ``SHADES``, in their order."""
    places = [int(np.flatnonzero((record.colors == shade).all(1))[0]) for shade in SHADES]
    return record.points[places].astype(np.float64)


def up_from_y(points: np.ndarray) -> np.ndarray:
    """Points whose y points up, turned to z: (x, y, z) -> (x, -z, y), centered and scaled."""
    return in_unit_sphere(points[:, [0, 2, 1]] * [1, -1, 1])


def in_unit_sphere(points: np.ndarray) -> np.ndarray:
    """Points about their mean, the largest norm 1."""
    centered = points - points.mean(0)
    return centered / np.linalg.norm(centered, axis=1).max()
