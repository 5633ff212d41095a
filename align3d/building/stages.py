"""Stages of an item on its way to a row of a dataset, each a function of a record and the build's recipe.

A source reads, samples and normalizes, as it alone knows the surface (``align3d.sampling`` has the
functions). What it returns goes through further stages in their order; the last ones are always
``plain_texts`` and ``validate``. A stage sees one record and nothing else, so that items can be read in any
order. Stages that look at a whole dataset are filters (``align3d.filters``); a split is none, as it follows
from the content hashes (``align3d.splits``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from align3d.errors import DataError
from align3d.hashing import hash_code
from align3d.record import Record, check_record, in_plain_text
from align3d.sampling import rotate_up


@dataclass(frozen=True)
class Recipe:
    """What a build says to every stage.

    Attributes:
        points: Number of points per shape, P.
        seed: Seed of the sampling.
    """

    points: int
    seed: int


Stage = Callable[[Record, Recipe], Record]
"""One stage: picklable, and the same result on every machine.

It raises ``RejectedItem`` for a record that cannot be used, and `ServiceDown` where no record can be for the
time being. One with settings is an object with a method ``fingerprint() -> str`` (sha256 hex of whatever
determines its results); of a plain function, its module's source counts."""


class ServiceDown(DataError):
    """Something outside of the build that a stage needs does not answer (a captioner's endpoint).

    It ends the build in one line; finished shards are kept, and the same command goes on with the others.
    """


def upright(record: Record, recipe: Recipe) -> Record:
    """Turn a shape so that z points up: a rotation, never a mirror image; (x, y, z) -> (x, -z, y) of y up."""
    if record.up_axis not in ("x", "y"):  # what is no axis is refused later
        return record
    turned = rotate_up(record.points.astype(np.float64), record.up_axis)
    size = np.abs(rotate_up(record.size_m.astype(np.float64), record.up_axis))
    return replace(record, points=turned.astype(np.float16), size_m=size.astype(np.float32), up_axis="z")


def plain_texts(record: Record, recipe: Recipe) -> Record:
    """Put all texts into Unicode's normal form C, without control characters."""
    return in_plain_text(record)


def validate(record: Record, recipe: Recipe) -> Record:
    """Refuse a record that breaks the contract of ``align3d.record``."""
    check_record(record, recipe.points)
    return record


LAST: tuple[Stage, ...] = (plain_texts, validate)
"""Stages that every record goes through in the end."""


def through(record: Record, recipe: Recipe, stages: Sequence[Stage]) -> Record:
    """The record behind all stages."""
    for stage in (*stages, *LAST):
        record = stage(record, recipe)
    return record


def fingerprint(stage: Stage) -> str:
    """Hash or name of what determines a stage's results."""
    own = getattr(stage, "fingerprint", None)
    if own is not None:
        return str(own())
    name = getattr(stage, "__qualname__", type(stage).__name__)
    return f"{stage.__module__}.{name} {hash_code(stage.__module__)}"
