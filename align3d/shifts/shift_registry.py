"""Registry of shifts: what may happen to a shape between the model's training and its use, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import align3d.shifts.cloud
from align3d.errors import DataError, did_you_mean
from align3d.hashing import hash_bytes, item_generator
from align3d.shifts.cloud import Cloud

LEVELS = range(5)
DEFAULT_LEVEL = 2
CLEAN = "clean"

SHIFTS: dict[str, Callable[..., Cloud]] = {}

F = TypeVar("F", bound=Callable[..., Cloud])


def register_shift(name: str) -> Callable[[F], F]:
    """Function decorator: make a shift known by its name.

    A shift is a function of a `Cloud`, a generator and, where it has levels from 0 to 4, a ``level``; it
    returns another cloud of as many points and draws from nothing but the generator.

    Args:
        name: Name in settings, without a colon.

    Raises:
        ValueError: The name has a colon, or the function is not in a file, whose content shapes that are
            kept on disk depend on.
    """
    if ":" in name:
        raise ValueError(f"shift {name!r}: expected a name without a colon, which is for levels")

    def add(function: F) -> F:
        if not Path(inspect.getfile(function)).is_file():
            raise ValueError(f"shift {name!r}: expected a function in a file, and not one that was typed in")
        SHIFTS[name] = function
        return function

    return add


@dataclass(frozen=True)
class Shift:
    """A registered shift at one of its levels.

    Attributes:
        name: Registered name.
        level: Level from 0 to 4; None where the shift has none.
    """

    name: str
    level: int | None = None

    def __str__(self) -> str:
        return self.name if self.level is None else f"{self.name}:{self.level}"

    def __call__(self, cloud: Cloud, seed: int, content_hash: str) -> Cloud:
        """The shifted cloud, which depends on nothing but the arguments.

        The levels of a shift draw the same numbers: the same plane cuts less or more.

        Args:
            cloud: One shape.
            seed: Seed of all shapes.
            content_hash: What tells this shape from the others.
        """
        rng = item_generator(seed, f"{self.name}\0{content_hash}")
        strength: dict[str, Any] = {} if self.level is None else {"level": self.level}
        return SHIFTS[self.name](cloud, rng, **strength)

    @property
    def fingerprint(self) -> str:
        """Sha256 hex of everything that determines what the shift makes of a cloud."""
        files = (inspect.getfile(SHIFTS[self.name]), str(align3d.shifts.cloud.__file__))
        code = (Path(file).read_bytes().replace(b"\r\n", b"\n") for file in files)
        return hash_bytes(str(self).encode(), np.__version__.encode(), *code)


def parse_shift(text: str) -> Shift:
    """A shift from its name, or its name and level: ``"jitter"``, ``"jitter:4"``.

    A shift with levels that is named without one has level 2.

    Raises:
        DataError: No such shift, or no such level.
    """
    name, colon, level = text.partition(":")
    if name not in SHIFTS:
        raise DataError(f"shift={text}: expected one of {', '.join(SHIFTS)}{did_you_mean(name, SHIFTS)}")
    if "level" not in inspect.signature(SHIFTS[name]).parameters:
        if colon:
            raise DataError(f"shift={text}: expected {name}, which has no levels")
        return Shift(name)
    if not colon:
        return Shift(name, DEFAULT_LEVEL)
    if level not in map(str, LEVELS):
        raise DataError(f"shift={text}: expected a level from {LEVELS[0]} to {LEVELS[-1]}, as in {name}:4")
    return Shift(name, int(level))
