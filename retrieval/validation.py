"""Checks of numbers, vectors and ids where they come in: a mistake is named before anything is changed."""

from __future__ import annotations

import contextlib
import math
import operator
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
SHORTEST, LONGEST = 1e-15, 1e15
"""Lengths of a vector, so that sums of squares stay within float32."""
LARGEST_ID = 2**63 - 1
NUMBERS = (int, float, np.integer, np.floating, np.bool_)
"""Types of a real number; truth values count as 0 and 1."""
MOST = 2**31 - 1
"""Inputs of the compiled libraries."""
MOST_THREADS = max(64, os.cpu_count() or 1)
"""More make nothing faster, and a slip of the keyboard would keep the machine busy with starting them."""


def whole(name: str, value: Any, least: int = 1, most: int = MOST) -> int:
    """A whole number of any library as an int.

    Args:
        name: What the user calls it.
        value: What the user gave.
        least: Smallest that will do.
        most: Largest that will do.

    Raises:
        ValueError: If it is no whole number (truth values and ``3.0`` are none), or out of range.
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
        name: What the user calls it.
        value: What the user gave.
        least: Smallest that will do.
        most: Largest that will do.

    Raises:
        ValueError: If it is no number, NaN or out of range.
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


def check_content(
    vectors: NDArray[np.float32], ids: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Check vectors and ids: contiguous float32 ``[N, D]`` and int64 ``[N]``; else a ValueError."""
    vectors = check_vectors(vectors, "vectors")
    if 0 in vectors.shape:
        raise ValueError(f"vectors of shape {vectors.shape}: expected [N, D] with at least one vector")
    return vectors, check_ids(ids, len(vectors))


def check_search(
    queries: NDArray[np.float32], k: int, count: int, width: int
) -> tuple[NDArray[np.float32], int]:
    """Contiguous float32 queries and k for an index of ``count`` vectors of ``width``; else a ValueError."""
    if not count:
        raise ValueError("search on an empty index: call build(vectors, ids) first")
    k = whole("k", k)
    queries = check_vectors(queries, "queries", width)
    if k > count:
        raise ValueError(f"k={k}: the index holds {count}; ask for at most as many")
    return queries, k


def check_vectors(vectors: NDArray[np.float32], name: str, width: int | None = None) -> NDArray[np.float32]:
    """Vectors as contiguous float32 ``[N, D]``, or a ValueError that says what is wrong with them.

    A length has to be from `SHORTEST` to `LONGEST`, so that sums of squares stay within float32, whose ends
    end faiss's k-means, and the process with it.
    """
    plain = type(vectors) is np.ndarray and vectors.dtype == np.float32 and vectors.flags.carray
    if not (plain and vectors.ndim == 2):  # plain is the rule, and a single query's time counts
        try:
            with np.errstate(over="ignore"):
                vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name}: expected an array of numbers, [N, D] ({error})") from error
    if vectors.ndim != 2:
        raise ValueError(f"{name} of shape {vectors.shape}: expected [N, D]")
    if width is not None and vectors.shape[1] != width:
        raise ValueError(f"{name} of width {vectors.shape[1]}: the index was built with {width}")
    if not vectors.size or well_formed(vectors, SHORTEST, LONGEST):
        return vectors
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(1))[0])
        raise ValueError(f"{name}[{row}] has a value that is not finite")
    zero = np.flatnonzero(~vectors.any(axis=1))
    if len(zero):
        raise ValueError(f"{name}: row {zero[0]} is zero, expected a direction; leave it out")
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    row = int(np.argmax(np.abs(np.log(lengths))))
    raise ValueError(
        f"{name}[{row}] has length {lengths[row]:.3g}: expected {SHORTEST:g} to {LONGEST:g}; scale them all"
    )


def check_ids(ids: NDArray[np.integer], count: int | None = None) -> NDArray[np.int64]:
    """Ids as ``[count]`` int64: whole numbers, 0 or more, each once; else a ValueError naming it."""
    ids = np.asarray(ids)
    if ids.ndim != 1:
        raise ValueError(f"ids of shape {ids.shape}: expected a list of ids, [n]")
    count = len(ids) if count is None else count
    if ids.shape != (count,):
        raise ValueError(f"ids of shape {ids.shape} for {count} vectors: expected one id a vector")
    if count and ids.dtype.kind not in "iu":
        raise ValueError(f"ids of type {ids.dtype}: expected whole numbers")
    if count and ids.max() > LARGEST_ID:
        raise ValueError(f"id {ids.max()}: expected at most {LARGEST_ID} (2**63 - 1)")
    numbers: NDArray[np.int64] = np.array(ids, dtype=np.int64)
    if count and numbers.min() < 0:
        raise ValueError(f"id {numbers.min()}: expected 0 or more (-1 means that nothing was found)")
    values, counts = np.unique(numbers, return_counts=True)
    if len(values) < count:
        raise ValueError(f"id {values[counts.argmax()]} is given {counts.max()} times: expected distinct ids")
    return numbers


def well_formed(vectors: NDArray[np.float32], shortest: float, longest: float) -> bool:
    """Whether all rows ``[N, D]`` have finite lengths within these bounds, whose squares float32 can hold."""
    if len(vectors) == 1:  # a query by itself waits for this: one call instead of three
        square = float(np.vdot(vectors, vectors))
        return shortest * shortest <= square <= longest * longest
    squares = np.einsum("nd,nd->n", vectors, vectors)
    return bool(shortest * shortest <= squares.min() and squares.max() <= longest * longest)
