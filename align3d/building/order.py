"""Order of a build: the source, its recipe and the stages behind it, and the key that they make."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from align3d.building.stages import Recipe, Stage, fingerprint
from align3d.errors import DataError, did_you_mean
from align3d.hashing import hash_code, hash_json
from align3d.sources import Source
from align3d.store import SCHEMA

ENGINES = ("local", "ray")
"""What the processes of a build may belong to."""


@dataclass(frozen=True)
class Order:
    """What is to be read.

    Attributes:
        source: Source of the shapes.
        recipe: Points and seed.
        stages: What every record goes through behind the source.
    """

    source: Source
    recipe: Recipe
    stages: tuple[Stage, ...] = ()

    def fingerprint(self) -> str:
        """Hash of the source and of the stages."""
        own = self.source.fingerprint()
        return hash_json([own, *map(fingerprint, self.stages)]) if self.stages else own

    def key(self) -> str:
        """Hash of all that determines the dataset; equal keys mean equal datasets."""
        return key_of(self.source.name, self.fingerprint(), self.recipe)


def order_of(source: Source, points: int, seed: int, stages: Sequence[Stage]) -> Order:
    """An order whose settings are checked.

    Raises:
        DataError: ``points`` or ``seed`` is no whole number, or too small.
    """
    check_whole("points", points, 1)
    check_whole("seed", seed, 0)
    return Order(source, Recipe(points, seed), tuple(stages))


def key_of(name: str, fingerprint: str, recipe: Recipe) -> str:
    """Hash of what a dataset is built from, by the source's name and the order's fingerprint."""
    return hash_json([SCHEMA, code_hash(), name, fingerprint, recipe.points, recipe.seed])


def code_hash() -> str:
    """Hash of the code that makes rows of what sources return."""
    return hash_code(
        "align3d.sampling", "align3d.store", "align3d.record", "align3d.captions", "durable.plain_text"
    )


def default_workers() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Crew:
    """Who reads.

    Attributes:
        engine: What its processes belong to: this machine (local) or Ray.
        workers: How many read at a time; None: as many as there are cores.
    """

    engine: str = "local"
    workers: int | None = None

    def processes(self) -> int:
        """Number of processes on this machine."""
        return default_workers() if self.workers is None else self.workers


def crew_of(engine: str, workers: int | None) -> Crew:
    """A crew whose settings are checked.

    Raises:
        DataError: There is no such engine, or ``workers`` is no whole number from 1.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # it would wait for itself
        sys.exit(f'{sys.argv[0]} needs `if __name__ == "__main__":` around its own code')
    if engine not in ENGINES:
        raise DataError(
            f"engine={engine}: expected one of {', '.join(ENGINES)}{did_you_mean(engine, ENGINES)}"
        )
    if workers is not None:
        check_whole("workers", workers, 1)
    return Crew(engine, workers)


def check_whole(name: str, value: Any, least: int) -> None:
    """Refuse what is not a whole number from ``least``.

    Raises:
        DataError: It is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise DataError(f"{name}={value!r}, expected a whole number from {least}")
