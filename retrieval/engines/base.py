"""Base classes of the engines: checked input, ids for row numbers, a clear line when one is missing."""

from __future__ import annotations

import importlib
import math
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any, ClassVar

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval.storage import mapping_of
from retrieval.validation import Checked, check_content, check_search, thread_count

#: Found rows and their inner products, each ``[Q, k]``; row -1 where nothing was found.
Found = tuple[NDArray[np.int64], NDArray[np.float32]]


PROBES = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
"""Cells or leaves scanned per query, on a curve: equal for all engines that have them, ours among them."""

REFINES = (40, 60, 100, 250)
"""Candidates rescored exactly, likewise."""


class MissingEngineError(ImportError):
    """The library of an engine is not installed, or does not load; the message is one line with the fix."""


def library(engine: str, module: str, fix: str) -> ModuleType:
    """Imports an engine's library.

    Args:
        engine: The engine's name.
        module: The module to import.
        fix: What to type to have it.

    Raises:
        MissingEngineError: If it cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingEngineError(f"{engine}: cannot import {module} ({error}); {fix}") from error


class Engine(ABC):
    """An engine behind `retrieval.protocol.Retriever`: inner product of L2-normalized vectors.

    Attributes:
        name: What `retrieval.engines.make_index` calls it.
        search_params: For each attribute that trades recall for speed the values of a curve, cheapest first;
            the first is the one that the engine's users set. Each may be set at any time between searches.
        threads: Of building and of searching many queries, at most `retrieval.validation.MOST_THREADS`.
    """

    name: ClassVar[str]
    search_params: ClassVar[Mapping[str, tuple[int, ...]]]
    threads = Checked(thread_count)

    def __init__(self, *, threads: int = 1) -> None:
        self.threads = threads
        self._ids: NDArray[np.int64] = np.empty(0, np.int64)
        self._width = 0

    def __len__(self) -> int:
        return len(self._ids)

    def __getstate__(self) -> dict[str, Any]:
        """For `pickle` and `copy.deepcopy`, which few libraries allow."""
        raise TypeError(f"{self.name} cannot be copied or pickled: make_index another and build it")

    def build(self, vectors: NDArray[np.float32], ids: NDArray[np.int64]) -> None:
        """See `retrieval.protocol.Retriever.build`."""
        vectors, ids = check_content(vectors, ids)
        self._build(vectors)
        self._ids, self._width = ids, vectors.shape[1]

    def search(self, queries: NDArray[np.float32], k: int) -> Found:
        """See `retrieval.protocol.Retriever.search`."""
        queries, k = check_search(queries, k, len(self), self._width)
        if not len(queries):
            return np.empty((0, k), np.int64), np.empty((0, k), np.float32)
        rows, scores = self._search(queries, k)
        short = np.flatnonzero((rows < 0).any(axis=1))
        if len(short):
            rows[short], scores[short] = self._search_all(np.ascontiguousarray(queries[short]), k)
        found = rows >= 0
        return np.where(found, self._ids[rows], -1), np.where(found, scores, -np.inf).astype(np.float32)

    @abstractmethod
    def resident_bytes(self) -> int:
        """Bytes of memory that the built index needs, counted from what it writes when it is saved."""

    @abstractmethod
    def _build(self, vectors: NDArray[np.float32]) -> None:
        """Builds from checked vectors ``[N, D]``."""

    @abstractmethod
    def _search(self, queries: NDArray[np.float32], k: int) -> Found:
        """Searches with checked queries ``[Q, D]``, ``Q`` at least 1, ``k`` at most ``N``."""

    def _search_all(self, queries: NDArray[np.float32], k: int) -> Found:
        """Searches for queries that `_search` found fewer than ``k`` for, at whatever cost.

        By default with the first of `search_params` as large as the index.
        """
        name = next(iter(self.search_params), None)
        if name is None:
            return self._search(queries, k)
        before = getattr(self, name)
        setattr(self, name, max(before, len(self)))
        try:
            return self._search(queries, k)
        finally:
            setattr(self, name, before)


class FaissEngine(Engine):
    """An index of faiss.

    Attributes:
        in_place: Whether vectors of a memory-mapped file stay there, see `read_in_place`.
    """

    in_place: ClassVar[bool] = False

    def __init__(self, *, threads: int = 1) -> None:
        super().__init__(threads=threads)
        self._index: Any = None  # of another class in each engine
        self._mapped: NDArray[np.float32] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_mapped": None}  # a copy has its vectors in memory

    def resident_bytes(self) -> int:
        """See `Engine.resident_bytes`."""
        return saved_bytes(self._index) if self._index is not None else 0

    def disk_bytes(self) -> int:
        """Bytes of a memory-mapped file that searches read the vectors from."""
        return 0 if self._mapped is None else self._mapped.nbytes

    def _build(self, vectors: NDArray[np.float32]) -> None:
        with faiss_threads(self.threads):
            index = self._make(vectors)
        mapped = self.in_place and mapping_of(vectors) is not None
        self._index, self._mapped = index, vectors if mapped else None

    def _search(self, queries: NDArray[np.float32], k: int) -> Found:
        with faiss_threads(self.threads):
            scores, rows = self._run(queries, k)
        return rows, scores

    @abstractmethod
    def _make(self, vectors: NDArray[np.float32]) -> faiss.Index:
        """A trained index that holds the vectors ``[N, D]``."""

    @abstractmethod
    def _run(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Scores and rows, each ``[Q, k]``, in faiss's order."""


def read_in_place(flat: Any, vectors: NDArray[np.float32]) -> None:
    """Makes an empty ``IndexFlat`` one of vectors ``[N, D]`` that stay where they are, such as a mapped file.

    The caller keeps the array as long as the index.
    """
    address, codes = faiss.swig_ptr(vectors.reshape(-1).view(np.uint8)), flat.codes
    codes.is_owned = False
    codes.view_data = codes.c_ptr = address
    codes.view_size = codes.c_size = vectors.nbytes
    flat.ntotal = len(vectors)


def common_length(engine: str, vectors: NDArray[np.float32]) -> float:
    """The length of vectors ``[N, D]`` for an engine by Euclidean distance.

    Raises:
        ValueError: One has another length than most.
    """
    norms = np.linalg.norm(vectors, axis=1)
    length = float(np.median(norms))
    off = int(np.abs(norms - length).argmax())
    if abs(norms[off] - length) > 1e-3 * length:
        raise ValueError(
            f"{engine}: vectors[{off}] has length {norms[off]:.4g}, others {length:.4g}: expected one "
            "length; normalize the vectors"
        )
    return length


@contextmanager
def faiss_threads(threads: int) -> Iterator[None]:
    """Gives faiss so many threads, and those it had before afterwards."""
    before = faiss.omp_get_max_threads()
    if before == threads:
        yield
        return
    faiss.omp_set_num_threads(threads)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


@contextmanager
def quiet() -> Iterator[None]:
    """Sends what a library prints from C++ to nowhere; errors come as exceptions all the same."""
    streams = {1: sys.stdout, 2: sys.stderr}
    for stream in streams.values():
        stream.flush()
    kept = {number: os.dup(number) for number in streams}
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in streams:
        os.dup2(nowhere, number)
    os.close(nowhere)
    try:
        yield
    finally:
        for number, before in kept.items():
            os.dup2(before, number)
            os.close(before)


def saved_bytes(index: faiss.Index) -> int:
    """Bytes that a faiss index takes when it is written, counted without being kept."""
    total = 0

    def count(chunk: bytes) -> None:
        nonlocal total
        total += len(chunk)

    writer = faiss.PyCallbackIOWriter(count)  # type: ignore[attr-defined]
    faiss.write_index(index, writer)
    del writer  # it may hold bytes back until it goes
    return total


def cells_for(count: int) -> int:
    """Cells of an inverted file of so many vectors: the power of two nearest to ``4 sqrt(N)``.

    This is 4,096 at a million, within faiss's advice of 4 to 16 ``sqrt(N)`` (its wiki, "Guidelines to choose
    an index"), where training stays affordable on one core.
    """
    return min(count, 1 << round(math.log2(4 * count**0.5)))
