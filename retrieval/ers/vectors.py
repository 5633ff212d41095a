"""The exact vectors, in memory or memory-mapped, in single or half precision, and rescoring by them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from durable.errors import DamagedFileError
from retrieval.ers.backend import Chosen
from retrieval.ers.hierarchy import Floats, Ints
from retrieval.ers.kernels.refine import refine_all
from retrieval.storage import expect_random, fetch
from retrieval.validation import LONGEST, SHORTEST, well_formed

Precision = Literal["float32", "float16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "float16")
SHARE_CACHED = 0.5
"""Share of the machine's memory up to which a mapped file is taken to be cached by the system."""
_TOGETHER = 64  # queries rescored at a time by the plain backend
_VALUES = 2**24  # of vectors that it reads at a time
_MANY, _CLOSE = 256, 64  # rows that are worth it, and the rows of a range for each of them


def fit_half(vectors: Floats, name: str) -> None:
    """Refuses vectors ``[N, D]`` that half precision cannot hold.

    Raises:
        ValueError: If a value is above what it can hold, or a vector's largest below what it holds in full.
    """
    limits = np.finfo(np.float16)
    largest = np.abs(vectors).max(axis=1, initial=0)
    off = np.flatnonzero((largest > limits.max) | (largest < limits.smallest_normal))
    if len(off):
        raise ValueError(
            f"{name}: row {off[0]} has {largest[off[0]]:.3g} as its largest value: float16 holds "
            f"{limits.smallest_normal:.2g} to {limits.max:g}; scale the vectors or take precision='float32'"
        )


def _memory() -> int:
    """Bytes of the machine's memory; 0 where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


class VectorStore:
    """Rows of vectors: a base that is only read (it may be memory-mapped) and a tail that grows.

    Half precision halves what is read at refining and changes a unit vector's scores by about 1e-4.
    """

    def __init__(self, base: NDArray[np.floating], source: Path | None = None) -> None:
        """Stores vectors.

        Args:
            base: ``[n, D]``.
            source: File that the base is of, whose numbers nobody has checked: `read` does.

        Raises:
            ValueError: If they are of another type.
        """
        if base.dtype not in PRECISIONS:
            raise ValueError(f"vectors of type {base.dtype}: expected {' or '.join(PRECISIONS)}")
        self.base = base
        self._mapped = isinstance(base, np.memmap)
        expect_random(base)
        self._source = source
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
        return len(self.base) if self._mapped else 0

    @property
    def nbytes(self) -> int:
        """Memory of what is not memory-mapped."""
        return self._tail.nbytes + (0 if self._mapped else self.base.nbytes)

    @property
    def mapped_bytes(self) -> int:
        """Of the file that is memory-mapped."""
        return self.base.nbytes if self._mapped else 0

    @property
    def on_disk(self) -> bool:
        """Whether rows are likely to have to be read from a disk: asking for cached ones costs 10 to 25 %."""
        return self._mapped and self.base.nbytes > SHARE_CACHED * _memory()

    def append(self, vectors: Floats) -> None:
        """Adds rows at the end."""
        self.write(np.arange(len(self), len(self) + len(vectors)), vectors)

    def write(self, rows: Ints, vectors: Floats) -> None:
        """Puts vectors into rows, of which those past the end follow on (amortised: the tail doubles)."""
        needed = int(rows.max(initial=-1)) + 1 - len(self.base)
        self.reserve(len(self.base) + needed)
        self._filled = max(self._filled, needed)
        old = rows < len(self.base)
        if old.any():
            self.base[rows[old]] = vectors[old]
        self._tail[rows[~old] - len(self.base)] = vectors[~old]

    def reserve(self, length: int) -> None:
        """Takes the memory for so many rows in all; amortised, for twice as many as before if these fit."""
        needed = length - len(self.base)
        if needed <= len(self._tail):
            return
        width, dtype = self.base.shape[1], self.base.dtype
        try:
            grown = np.empty((max(needed, 2 * len(self._tail)), width), dtype)
        except MemoryError:
            grown = np.empty((needed, width), dtype)
        grown[: self._filled] = self._tail[: self._filled]
        self._tail = grown

    def read(self, rows: Ints) -> Floats:
        """``[n, D]`` float32; DamagedFileError if a file has numbers there that are no vector's."""
        out = np.empty((len(rows), self.base.shape[1]), np.float32)
        old = rows < len(self.base)
        self._fetch(rows[old])
        out[old] = self.base.take(rows[old], axis=0)  # it lets other threads run while it waits for a disk
        if self._source is not None and old.any() and not well_formed(out[old], SHORTEST / 2, 2 * LONGEST):
            raise DamagedFileError(f"{self._source} is damaged: it has vectors that are zero or not finite")
        out[~old] = self._tail[rows[~old] - len(self.base)]
        return out

    def _fetch(self, rows: Ints) -> None:
        """Has many rows of a file read at once, not one after the other; as one range if they lie close."""
        if not self._mapped or len(rows) < _MANY:
            return
        first, last = int(rows.min()), int(rows.max())
        fetch(
            self.base, [(first, last)] if last - first < _CLOSE * len(rows) else zip(rows, rows, strict=True)
        )

    def refine(
        self, queries: Floats, rows: Ints, ids: Ints, k: int, backend: Chosen = "numba"
    ) -> tuple[Ints, Floats]:
        """Rescores candidates exactly and keeps the best.

        Args:
            queries: ``[Q, D]`` contiguous.
            rows: ``[Q, C]`` candidates of each query, -1 for none; or ``[C]``, the same for all queries.
            ids: ``[n]`` the id of every row: ties are broken by the lowest id.
            k: How many to keep.
            backend: See `retrieval.ers.backend`.

        Returns:
            ``(ids [Q, k], scores [Q, k])``, padded with -1 and minus infinity.
        """
        if rows.ndim == 1:
            rows = np.broadcast_to(rows, (len(queries), len(rows)))
        if backend == "numba":
            return refine_all(queries, rows, *self.parts(), ids, k)
        best = np.full((len(queries), k), -1, np.int64)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        for at in range(0, len(queries), _TOGETHER):
            part = slice(at, at + _TOGETHER)
            candidates = rows[part]
            exact = self._products(queries[part], candidates)
            order = np.lexsort((ids[candidates], -exact))[:, :k]
            found = np.take_along_axis(candidates, order, 1)
            best[part, : order.shape[1]] = np.where(found >= 0, ids[found], -1)
            scores[part, : order.shape[1]] = np.take_along_axis(exact, order, 1)
        return best, scores

    def _products(self, queries: Floats, rows: Ints) -> Floats:
        """Products ``[Q, C]`` of queries with rows; minus infinity for rows of -1."""
        exact = np.empty(rows.shape, np.float32)
        step = max(1, _VALUES // queries.size)
        for at in range(0, rows.shape[1], step):
            some = rows[:, at : at + step]
            vectors = self.read(np.maximum(some, 0).ravel()).reshape(*some.shape, -1)
            exact[:, at : at + step] = np.einsum("qcd,qd->qc", vectors, queries)
        exact[rows < 0] = -np.inf
        return exact

    def parts(self) -> tuple[NDArray, NDArray, bool]:
        """Base and tail as compiled code takes them, half precision as its bits (uint16); see `on_disk`."""
        if self.precision == "float16":
            return self.base.view(np.uint16), self._tail.view(np.uint16), self.on_disk
        return self.base, self._tail, self.on_disk
