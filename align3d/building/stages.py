"""Stages between an item of a source and a row of a dataset: each turns a stream of drafts into another.

A source reads, samples and normalizes, as it alone knows the surface (``align3d.sampling`` has the
functions). What it returns goes through further stages in their order: turned upright where that is asked
for, captioned, and last of all given plain texts and validated. What looks at a whole dataset is a filter
(``align3d.filters``); a split is no stage, as it follows from the content hashes (``align3d.splits``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from align3d.errors import DataError, RejectedItem
from align3d.hashing import hash_code
from align3d.record import Record, Rejection, check_record, in_plain_text
from align3d.sampling import rotate_up
from durable.disk_space import FULL

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """What a build says to every stage.

    Attributes:
        points: Number of points per shape, P.
        seed: Seed of the sampling.
    """

    points: int
    seed: int


@dataclass(frozen=True)
class Draft:
    """An item on its way.

    Attributes:
        item: Its id.
        outcome: What came of it so far.
        payload: What the source needs to read or draw it, see `align3d.sources.Item`.
    """

    item: str
    outcome: Record | Rejection
    payload: Any = None


Stage = Callable[[Iterator[Draft], Recipe], Iterator[Draft]]
"""One stage: picklable, and the same results on every machine.

It yields a draft for each that it is given, in their order, and leaves rejections as they are. It may take
several before it yields the first, to work on them at once. Whatever it raises ends the build; finished
shards are kept. One with settings has a method ``fingerprint() -> str`` (sha256 hex of all that determines
its results). Most are made of a function of one record by `Each`."""


class ServiceDown(DataError):
    """Something outside of the build that a stage needs does not answer, such as a captioner's server.

    It ends the build in one line; finished shards are kept, and the same command goes on with the others.
    """


@dataclass(frozen=True)
class Each:
    """Stage of a function of one record; whatever it raises but `ServiceDown` is that item's rejection."""

    function: Callable[[Record, Recipe], Record]

    def __call__(self, drafts: Iterator[Draft], recipe: Recipe) -> Iterator[Draft]:
        """The drafts behind the function."""
        for draft in drafts:
            if isinstance(record := draft.outcome, Rejection):
                yield draft
            else:
                tried = attempt(draft.item, partial(self.function, record, recipe))
                yield replace(draft, outcome=tried)

    def fingerprint(self) -> str:
        """Name of the function and hash of its module's source."""
        module = self.function.__module__
        return f"{module}.{self.function.__qualname__} {hash_code(module)}"


def attempt(item: str, work: Callable[[], Record]) -> Record | Rejection:
    """What comes of work on an item. Whatever it raises is the item's rejection, but for a full disk.

    Raises:
        ServiceDown: The work needs something that does not answer.
    """
    try:
        return work()
    except (KeyboardInterrupt, ServiceDown):
        raise
    except RejectedItem as rejected:
        reason = rejected.reason
    except BaseException as error:  # readers of compiled code have panics that are no Exception
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        _logger.debug("reading %s", item, exc_info=True)
        reason = f"cannot be read: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return Rejection(item, reason)


def turn_upright(record: Record, recipe: Recipe) -> Record:
    """Turn a shape so that z points up: a rotation, never a mirror image; (x, y, z) -> (x, -z, y) of y up."""
    if record.up_axis not in ("x", "y"):  # what is no axis is refused later
        return record
    turned = rotate_up(record.points.astype(np.float64), record.up_axis)
    size = np.abs(rotate_up(record.size_m.astype(np.float64), record.up_axis))
    return replace(record, points=turned.astype(np.float16), size_m=size.astype(np.float32), up_axis="z")


def finish(record: Record, recipe: Recipe) -> Record:
    """Make the record's texts plain, and refuse one that breaks the contract of ``align3d.record``."""
    record = in_plain_text(record)
    check_record(record, recipe.points)
    return record


UPRIGHT = Each(turn_upright)
FINISH = Each(finish)


def through(drafts: Iterator[Draft], recipe: Recipe, stages: Sequence[Stage]) -> Iterator[Draft]:
    """The drafts behind all stages and the last one."""
    every: tuple[Stage, ...] = (*stages, FINISH)
    for stage in every:
        drafts = stage(drafts, recipe)
    return drafts


def fingerprint(stage: Stage) -> str:
    """Hash or name of what determines a stage's results; of a plain function, its module's source."""
    own = getattr(stage, "fingerprint", None)
    return str(own()) if own is not None else Each(stage).fingerprint()  # type: ignore[arg-type]
