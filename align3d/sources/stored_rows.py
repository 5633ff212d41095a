"""Rows of a finished dataset as records again, with as many points as are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from align3d.errors import RejectedItem
from align3d.record import Record
from align3d.sampling import normalize
from align3d.store import ORIGINS

CLOUD = ("points", "colors", "part")
TEXTS = ("id", "source", "category", "up_axis", "license", "content_hash")
TEXT_LISTS = ("captions", "part_names")
COLUMNS = (*TEXTS, *TEXT_LISTS, *CLOUD, "size_m")
"""Columns of a dataset that make up a record."""


def record_of(
    row: Mapping[str, Any], points: int, lost_colors: Sequence[str] = (), notes: Sequence[str] = ()
) -> Record:
    """The record of a row.

    Of more points than are asked for, the first are taken (any leading part of a cloud is itself a fair
    sample) and normalized again; where there are as many, the record is the one that was stored.

    Args:
        row: Values by column; the cloud's as arrays of any shape.
        points: Number of points P that is asked for.
        lost_colors: Why colors were lost when it was read.
        notes: What was guessed when it was read.

    Raises:
        RejectedItem: It has fewer points, or a column is missing.
    """
    if missing := [name for name in COLUMNS if row.get(name) is None]:
        raise RejectedItem(f"no column {missing[0]!r} (needed: {', '.join(COLUMNS)})")
    cloud = np.asarray(row["points"], dtype=np.float16).reshape(-1, 3)
    colors = np.asarray(row["colors"], dtype=np.uint8).reshape(-1, 3)
    part = np.asarray(row["part"], dtype=np.int16).reshape(-1)
    if not len(cloud) == len(colors) == len(part):
        raise RejectedItem(f"{len(cloud)} points, {len(colors)} colors and {len(part)} labels of parts")
    if len(cloud) < points:
        raise RejectedItem(f"{len(cloud)} points are stored: build with points={len(cloud)} or fewer")
    if len(cloud) > points:
        cloud = normalize(cloud[:points].astype(np.float64))
    captions = tuple(map(str, row["captions"]))
    return Record(
        id=str(row["id"]),
        source=str(row["source"]),
        category=str(row["category"]),
        captions=captions,
        caption_origins=tuple(map(str, row.get(ORIGINS) or [""] * len(captions))),
        points=cloud,
        colors=colors[:points],
        part=part[:points],
        part_names=tuple(map(str, row["part_names"])),
        size_m=np.asarray(row["size_m"], dtype=np.float32).reshape(-1),
        up_axis=str(row["up_axis"]),
        license=str(row["license"]),
        content_hash=str(row["content_hash"]),
        lost_colors=tuple(lost_colors),
        notes=tuple(notes),
    )
