"""Reading of all records of a benchmark's source in a test, checked against the contract of records."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from align3d.errors import RejectedItem
from align3d.record import Record, check_record
from align3d.sources import make_source

P = 64
ARROW = np.array([[0.0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 4]])
"""A cloud that is unlike its mirror image: x short, y longer, z longest."""


def read_all(name: str, **settings: Any) -> dict[str, Record]:
    """Records by id, in the source's order."""
    source = make_source(name, **settings)
    records = {item.id: source.read(item, P, 0) for item in source.items()}
    for record in records.values():
        check_record(record, P)
        assert record.source == name
        assert record.up_axis == "z"
    return records


def rejection(name: str, item_id: str, **settings: Any) -> str:
    """Why an item is rejected."""
    source = make_source(name, **settings)
    (item,) = [item for item in source.items() if item.id == item_id]
    with pytest.raises(RejectedItem) as error:
        source.read(item, P, 0)
    return error.value.reason


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
