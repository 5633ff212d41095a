"""Small shapes for files in the formats of the benchmarks, and the records that a source makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from align3d.errors import RejectedItem
from align3d.record import Record, check_record
from align3d.sources import make_source

P = 64
CORNERS = np.array([[0, 0, 0], [1, 0, 0], [0, 3, 0], [0, 0, 7]], dtype=np.float32)
"""Points of which no two can change places under a turn, and that are unlike their mirror image."""
ARROW = np.array([[0.0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 4]])
"""A cloud that is unlike its mirror image: x short, y longer, z longest."""
SHADES = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], dtype=np.uint8)


def read(root: Path, name: str, points: int = 4, **settings: Any) -> tuple[dict[str, Record], dict[str, str]]:
    """Records of a benchmark by id, and the reasons of what is rejected."""
    source = make_source(name, root=str(root), **settings)
    records, rejected = {}, {}
    for item in source.items():
        try:
            record = source.read(item, points, 0)
            check_record(record, points)
        except RejectedItem as error:
            rejected[item.id] = error.reason
            continue
        assert (record.source, record.up_axis) == (name, "z")
        records[item.id] = record
    return records, rejected


def read_all(name: str, root: Path, **settings: Any) -> dict[str, Record]:
    """Records by id, in the source's order; none is rejected."""
    records, rejected = read(root, name, P, **settings)
    assert not rejected
    return records


def rejection(name: str, item: str, root: Path, **settings: Any) -> str:
    """Why an item is rejected."""
    return read(root, name, P, **settings)[1][item]


def by_color(record: Record) -> NDArray[np.float64]:
    """The points of a record whose colors are ``SHADES``, in their order."""
    places = [int(np.flatnonzero((record.colors == shade).all(1))[0]) for shade in SHADES]
    return record.points[places].astype(np.float64)


def is_same_cloud(record: Record, cloud: NDArray[Any]) -> bool:
    """Whether a record holds the points of a cloud and no others, but for their order, place and scale."""
    found, wanted = (
        (rows - rows.min(axis=0)) / np.ptp(rows, axis=0).max()
        for rows in (np.unique(record.points.astype(np.float64), axis=0), np.unique(cloud + 0.0, axis=0))
    )
    return found.shape == wanted.shape and all(np.abs(wanted - row).max(axis=1).min() < 2e-3 for row in found)


def y_up_to_z_up(cloud: NDArray[Any]) -> NDArray[Any]:
    """(x, y, z) -> (x, -z, y)."""
    return np.stack([cloud[:, 0], -cloud[:, 2], cloud[:, 1]], axis=1)


def up_from_y(points: NDArray[Any]) -> NDArray[Any]:
    """Points whose y points up, turned to z, centered and scaled."""
    return in_unit_sphere(y_up_to_z_up(points))


def in_unit_sphere(points: NDArray[Any]) -> NDArray[Any]:
    """Points about their mean, the largest norm 1."""
    centered = points - points.mean(0)
    return np.asarray(centered / np.linalg.norm(centered, axis=1).max())
