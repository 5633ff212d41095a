"""Record of a dataset: one shape with its captions, its parts and its metric size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from align3d.errors import RejectedItem
from durable.plain_text import plain_text

AXES = ("x", "y", "z")
#: Color of a point whose source gives none: 0.4 gray, the field's convention.
MISSING_COLOR = 102


@dataclass(frozen=True)
class Record:
    """A shape as a colored, labeled point cloud, and the texts that describe it.

    Attributes:
        id: Unique within the source.
        source: Name of the source that made it.
        category: Family, class or folder; may be empty.
        captions: At least one; the first is the canonical description.
        points: f16[P, 3], mean subtracted and divided by the largest norm: in the unit sphere.
        colors: u8[P, 3], RGB.
        part: i16[P], index into ``part_names``; -1 where a point has no part.
        part_names: Names of the parts.
        size_m: f32[3], extent of the bounding box in meters, in the order of the axes.
        up_axis: "x", "y" or "z".
        license: SPDX name where there is one.
        content_hash: SHA-256 hex of what determines the shape (the mesh file's bytes, the canonical JSON of
            parameters), never of sampled floats: it decides the split.
        lost_colors: Why colors of the source were dropped, a line each; listed by the build, not stored with
            the shape.
        notes: What else was guessed in reading the shape, a line each; listed likewise.
        caption_origins: Where each caption comes from, parallel to ``captions``: ``footprint``,
            ``views:MODEL``, ...; empty where all are the source's own, which goes by its name then.
    """

    id: str
    source: str
    category: str
    captions: tuple[str, ...]
    points: NDArray[np.float16]
    colors: NDArray[np.uint8]
    part: NDArray[np.int16]
    part_names: tuple[str, ...]
    size_m: NDArray[np.float32]
    up_axis: str
    license: str
    content_hash: str
    lost_colors: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    caption_origins: tuple[str, ...] = ()

    @property
    def origins(self) -> tuple[str, ...]:
        """Where each caption comes from, one for each of ``captions``."""
        return self.caption_origins or (self.source,) * len(self.captions)


def recaptioned(record: Record, captions: Sequence[str], origin: str = "edited") -> Record:
    """The record with other captions; those that it had keep their origin.

    Args:
        record: The record.
        captions: Its captions from now on, in their order.
        origin: Origin of those that it did not have.
    """
    known = dict(zip(reversed(record.captions), reversed(record.origins), strict=True))
    origins = tuple(known.get(caption, origin) for caption in captions)
    return replace(record, captions=tuple(captions), caption_origins=origins)


@dataclass(frozen=True)
class Rejection:
    """An item that did not become a record, and why."""

    item: str
    reason: str


@dataclass(frozen=True)
class ColorLoss:
    """A shape that lacks colors which its source gives, and why."""

    item: str
    reason: str


@dataclass(frozen=True)
class Note:
    """Something that was guessed in reading a shape."""

    item: str
    reason: str


def in_plain_text(record: Record) -> Record:
    """The record with its texts in Unicode's normal form C and without control characters, origins named.

    Raises:
        RejectedItem: A text holds half of a surrogate pair, which no file of UTF-8 can hold.
    """
    try:
        for text in (record.id, record.source, record.content_hash):
            plain_text(text)
        return replace(
            record,
            category=plain_text(record.category),
            captions=tuple(plain_text(caption) for caption in record.captions),
            caption_origins=tuple(plain_text(origin) for origin in record.origins),
            part_names=tuple(plain_text(name) for name in record.part_names),
            license=plain_text(record.license),
        )
    except ValueError as error:
        raise RejectedItem(str(error)) from error


def check_record(record: Record, points: int, *, captioned: bool = True) -> None:
    """Refuse a record that breaks the contract, whatever source it came from.

    Args:
        record: What a source returned.
        points: The number of points P that was asked for.
        captioned: Whether it must have a caption; captions may come from elsewhere later.

    Raises:
        RejectedItem: Something is wrong; the first such thing is the reason.
    """
    arrays: dict[str, tuple[NDArray[Any], tuple[int, ...], type]] = {
        "points": (record.points, (points, 3), np.float16),
        "colors": (record.colors, (points, 3), np.uint8),
        "part": (record.part, (points,), np.int16),
        "size_m": (record.size_m, (3,), np.float32),
    }
    for name, (array, shape, dtype) in arrays.items():
        if array.shape != shape or array.dtype != dtype:
            raise RejectedItem(
                f"{name} is {array.dtype}{list(array.shape)}, expected {np.dtype(dtype)}{list(shape)}"
            )
    if not np.isfinite(record.points).all() or not np.isfinite(record.size_m).all():
        raise RejectedItem("NaN or infinite coordinates")
    if (record.size_m < 0).any() or not record.size_m.any():
        raise RejectedItem(f"size {record.size_m.tolist()} m, expected a positive extent")
    radius = float(np.linalg.norm(record.points.astype(np.float32), axis=1).max())
    if not 0.99 <= radius <= 1.01:
        raise RejectedItem(f"points reach {radius:.3f} from the origin, expected the unit sphere")
    if record.part.size and not -1 <= record.part.min() <= record.part.max() < len(record.part_names):
        raise RejectedItem(
            f"part labels {record.part.min()}..{record.part.max()} for {len(record.part_names)} part names"
        )
    if captioned and not any(caption.strip() for caption in record.captions):
        raise RejectedItem("no caption")
    if len(record.origins) != len(record.captions):
        raise RejectedItem(f"{len(record.origins)} origins of {len(record.captions)} captions")
    if record.up_axis not in AXES:
        raise RejectedItem(f"up_axis {record.up_axis!r}, expected x, y or z")
    if len(record.content_hash) != 64:
        raise RejectedItem(f"content_hash {record.content_hash!r}, expected the 64 hex digits of a sha256")
