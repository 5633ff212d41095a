"""Exact scores of candidates in compiled code, the vectors fetched ahead of their turn."""

from __future__ import annotations

import mmap
from typing import Any

import numba
import numpy as np
from numba.extending import overload
from numpy.typing import NDArray

from compiling import cached_njit, inlined
from compiling.instructions import prefetch_lines
from retrieval.ers.kernels.simd import from_half

AHEAD = 3
"""Vectors that are fetched before their turn."""
_PAGE = mmap.PAGESIZE
_WILL_NEED = getattr(mmap, "MADV_WILLNEED", -1)
_madvise: Any = numba.types.ExternalFunction(
    "madvise", numba.types.int32(numba.types.uintp, numba.types.uintp, numba.types.int32)
)


@cached_njit()
def keep(
    key: int, score: np.float32, filled: int, keys: NDArray[np.int64], scores: NDArray[np.float32]
) -> int:
    """In compiled code: keeps the best of a stream, best first, the smaller key first of equal scores.

    Returns how many places are filled.
    """
    if filled == len(keys):
        if score < scores[filled - 1] or (score == scores[filled - 1] and key > keys[filled - 1]):
            return filled
        place = filled - 1
    else:
        place = filled
        filled += 1
    while place > 0 and (score > scores[place - 1] or (score == scores[place - 1] and key < keys[place - 1])):
        keys[place] = keys[place - 1]
        scores[place] = scores[place - 1]
        place -= 1
    keys[place] = key
    scores[place] = score
    return filled


@inlined(fastmath={"reassoc", "contract"})
def _product_single(query: NDArray[np.float32], vector: NDArray[np.float32]) -> np.float32:
    total = np.float32(0)
    for column in range(len(query)):
        total += query[column] * vector[column]
    return total


@inlined(fastmath={"reassoc", "contract"})
def _product_half(query: NDArray[np.float32], bits: NDArray[np.uint16]) -> np.float32:
    total = np.float32(0)
    for column in range(len(query)):
        total += query[column] * from_half(bits[column])
    return total


def exact_product(query: NDArray[np.float32], vector: NDArray) -> np.float32:
    """The product with a stored vector of single precision or bits of half precision; compiled code too."""
    stored = vector.view(np.float16) if vector.dtype == np.uint16 else vector
    return np.float32(query @ stored.astype(np.float32))


@overload(exact_product)
def _exact_product(query: Any, vector: Any) -> Any:
    return _by_half if vector.dtype == numba.types.uint16 else _by_single


def _by_half(query: Any, vector: Any) -> Any:
    return _product_half(query, vector)


def _by_single(query: Any, vector: Any) -> Any:
    return _product_single(query, vector)


def _ask_for_pages(rows: NDArray[np.int64], base: NDArray) -> None:
    """In compiled code: has the system read the rows of a mapped file, all at once, and waits for none."""
    size = base.itemsize * base.shape[1]
    for row in rows:
        if 0 <= row < len(base):
            start = base.ctypes.data + row * size
            page = start // _PAGE * _PAGE
            _madvise(page, start + size - page, _WILL_NEED)


def _no_pages(rows: NDArray[np.int64], base: NDArray) -> None:
    """The same where the system takes no such advice."""


ask_for_pages: Any = cached_njit()(_no_pages if _WILL_NEED < 0 else _ask_for_pages)


@cached_njit()
def refine_one(
    query: NDArray[np.float32],
    rows: NDArray[np.int64],
    base: NDArray,
    tail: NDArray,
    on_disk: bool,
    ids: NDArray[np.int64],
    best: NDArray[np.int64],
    scores: NDArray[np.float32],
) -> None:
    """Scores rows exactly, -1 for none, into ``best`` ids and ``scores``, best first; vectors come ahead.

    Where ``base`` is likely to be ``on_disk``, its rows are asked for together.
    """
    if on_disk:
        ask_for_pages(rows, base)
    filled = 0
    size = base.itemsize * len(query)
    at = base.ctypes.data
    for slot in range(len(rows) + AHEAD):
        if slot < len(rows) and 0 <= rows[slot] < len(base):
            prefetch_lines(at + rows[slot] * size, size)
        row = rows[slot - AHEAD] if slot >= AHEAD else -1
        if row >= 0:
            vector = base[row] if row < len(base) else tail[row - len(base)]
            filled = keep(ids[row], exact_product(query, vector), filled, best, scores)


@cached_njit()
def refine_all(
    queries: NDArray[np.float32],
    rows: NDArray[np.int64],
    base: NDArray,
    tail: NDArray,
    on_disk: bool,
    ids: NDArray[np.int64],
    k: int,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """See `retrieval.ers.vectors.VectorStore.refine`."""
    best = np.full((len(queries), k), -1, np.int64)
    scores = np.full((len(queries), k), -np.inf, np.float32)
    for query in range(len(queries)):
        refine_one(queries[query], rows[query], base, tail, on_disk, ids, best[query], scores[query])
    return best, scores
