"""Numbers that a user gives, checked where they come in; a mistake is named before anything is changed."""

from __future__ import annotations

import contextlib
import math
import operator
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

T = TypeVar("T")
NUMBERS = (int, float, np.integer, np.floating, np.bool_)
"""Types of a real number; truth values count as 0 and 1."""
MOST = 2**31 - 1
"""What the compiled libraries take in."""
MOST_THREADS = max(64, os.cpu_count() or 1)
"""More make nothing faster, and a slip of the keyboard would keep the machine busy with starting them."""


def whole(name: str, value: Any, least: int = 1, most: int = MOST) -> int:
    """A whole number of any library as an int.

    Args:
        name: what the user calls it.
        value: what the user gave.
        least: smallest that will do.
        most: largest that will do.

    Raises:
        ValueError: if it is no whole number (truth values and ``3.0`` are none), or out of range.
    """
    number = value if type(value) is int else _index(name, value)  # ints are the rule: queries wait for this
    if number < least:
        raise ValueError(f"{name}={number}: expected at least {least}")
    if number > most:
        raise ValueError(f"{name}={number}: expected at most {most}")
    return number


def _index(name: str, value: Any) -> int:
    if not isinstance(value, bool | np.bool_):
        with contextlib.suppress(TypeError):
            return operator.index(value)
    raise ValueError(f"{name}={value!r}: expected a whole number; give an int")


def real(name: str, value: Any, least: float = 0.0, most: float = math.inf) -> float:
    """A number as a float.

    Args:
        name: what the user calls it.
        value: what the user gave.
        least: smallest that will do.
        most: largest that will do.

    Raises:
        ValueError: if it is no number, NaN or out of range.
    """
    if not isinstance(value, NUMBERS) or isinstance(value, bool | np.bool_) or not least <= value <= most:
        raise ValueError(f"{name}={value!r}: expected a number from {least:g} to {most:g}")
    return float(value)


def thread_count(name: str, value: Any) -> int:
    """A number of threads, at most `MOST_THREADS`; else a ValueError, see `whole`."""
    return whole(name, value, 1, MOST_THREADS)


class Checked(Generic[T]):
    """An attribute that is checked whenever it is set: ``beam = Checked(whole)``.

    The value lies in the instance's own dictionary, so that reading it costs what any attribute does.
    """

    def __init__(self, check: Callable[[str, Any], T]) -> None:
        self._check = check

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __set__(self, instance: object, value: Any) -> None:
        instance.__dict__[self._name] = self._check(self._name, value)

    if TYPE_CHECKING:  # without a __get__ Python looks into the dictionary at once

        def __get__(self, instance: object, owner: type | None = None) -> T: ...
