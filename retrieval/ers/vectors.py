"""The exact vectors, in memory or memory-mapped, in single or half precision, and rescoring by them."""

from __future__ import annotations

from typing import Any, Literal

import numba
import numpy as np
from numba.extending import overload
from numpy.typing import NDArray

from compiling import cached_njit, inlined
from compiling.instructions import prefetch_lines
from retrieval.ers.hierarchy import Floats, Ints
from retrieval.ers.kernels.simd import from_half

Precision = Literal["float32", "float16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "float16")
AHEAD = 3  # vectors fetched before their turn


def fit_half(vectors: Floats, name: str) -> None:
    """Refuses vectors ``[N, D]`` that half precision cannot hold.

    Raises:
        ValueError: if a value is above what it can hold, or a vector's largest below what it holds in full.
    """
    limits = np.finfo(np.float16)
    largest = np.abs(vectors).max(axis=1, initial=0)
    off = np.flatnonzero((largest > limits.max) | (largest < limits.smallest_normal))
    if len(off):
        raise ValueError(
            f"{name}: row {off[0]} has {largest[off[0]]:.3g} as its largest value: float16 holds "
            f"{limits.smallest_normal:.2g} to {limits.max:g}; scale the vectors or take precision='float32'"
        )


class VectorStore:
    """Rows of vectors: a base that is only read (it may be memory-mapped) and a tail that grows.

    Half precision halves what is read at refining and changes a unit vector's scores by about 1e-4.
    """

    def __init__(self, base: NDArray[np.floating]) -> None:
        if base.dtype not in PRECISIONS:
            raise ValueError(f"vectors of type {base.dtype}: expected {' or '.join(PRECISIONS)}")
        self.base = base
        self._tail = np.empty((0, base.shape[1]), base.dtype)
        self._filled = 0

    def __len__(self) -> int:
        return len(self.base) + self._filled

    @property
    def precision(self) -> Precision:
        """Of what is stored."""
        return "float16" if self.base.dtype == np.float16 else "float32"

    @property
    def first_writable(self) -> int:
        """The first row that may be written over: a memory-mapped base is someone else's file."""
        return len(self.base) if isinstance(self.base, np.memmap) else 0

    @property
    def nbytes(self) -> int:
        """Memory of what is not memory-mapped."""
        return self._tail.nbytes + (0 if isinstance(self.base, np.memmap) else self.base.nbytes)

    def append(self, vectors: Floats) -> None:
        """Adds rows at the end."""
        self.write(np.arange(len(self), len(self) + len(vectors)), vectors)

    def write(self, rows: Ints, vectors: Floats) -> None:
        """Puts vectors into rows, of which those past the end follow on (amortised: the tail doubles)."""
        needed = int(rows.max(initial=-1)) + 1 - len(self.base)
        if needed > len(self._tail):
            grown = np.empty((max(needed, 2 * len(self._tail)), self.base.shape[1]), self.base.dtype)
            grown[: self._filled] = self._tail[: self._filled]
            self._tail = grown
        self._filled = max(self._filled, needed)
        old = rows < len(self.base)
        if old.any():
            self.base[rows[old]] = vectors[old]
        self._tail[rows[~old] - len(self.base)] = vectors[~old]

    def read(self, rows: Ints) -> Floats:
        """``[n, D]`` float32."""
        out = np.empty((len(rows), self.base.shape[1]), np.float32)
        old = rows < len(self.base)
        out[old] = self.base[rows[old]]
        out[~old] = self._tail[rows[~old] - len(self.base)]
        return out

    def refine(self, queries: Floats, rows: Ints, ids: Ints, k: int) -> tuple[Ints, Floats]:
        """Rescores candidates exactly and keeps the best.

        Args:
            queries: ``[Q, D]`` contiguous.
            rows: ``[Q, C]``, -1 for none.
            ids: ``[n]``, the id of every row: of equal scores the smaller id stands first.
            k: how many to keep.

        Returns:
            ``(ids [Q, k], scores [Q, k])``, padded with -1 and minus infinity.
        """
        return _refine(queries, rows, *self.parts(), ids, k)

    def parts(self) -> tuple[NDArray, NDArray]:
        """Base and tail as compiled code takes them: half precision as its bits (uint16)."""
        if self.precision == "float16":
            return self.base.view(np.uint16), self._tail.view(np.uint16)
        return self.base, self._tail


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


@cached_njit()
def refine_one(
    query: NDArray[np.float32],
    rows: NDArray[np.int64],
    base: NDArray,
    tail: NDArray,
    ids: NDArray[np.int64],
    best: NDArray[np.int64],
    scores: NDArray[np.float32],
) -> None:
    """Scores rows exactly, -1 for none, into ``best`` ids and ``scores``, best first; vectors come ahead."""
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
def _refine(
    queries: NDArray[np.float32],
    rows: NDArray[np.int64],
    base: NDArray,
    tail: NDArray,
    ids: NDArray[np.int64],
    k: int,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    best = np.full((len(queries), k), -1, np.int64)
    scores = np.full((len(queries), k), -np.inf, np.float32)
    for query in range(len(queries)):
        refine_one(queries[query], rows[query], base, tail, ids, best[query], scores[query])
    return best, scores
