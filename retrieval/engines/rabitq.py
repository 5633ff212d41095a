"""RaBitQ's indexes: SymphonyQG, a graph whose links carry codes, and an inverted file of RaBitQ codes.

Gou, Gao, Xu, Long, "SymphonyQG: towards symphonious integration of quantization and graph for approximate
nearest neighbor search" (SIGMOD 2025); Gao et al., "Practical and asymptotically optimal quantization of
high-dimensional vectors in Euclidean space for approximate nearest neighbor search" (SIGMOD 2025). Both are
measured by their authors with the Euclidean distance, which ranks vectors of one length as inner products do.
"""

from __future__ import annotations

import tempfile
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from retrieval.engines.base import PROBES, Engine, Found, cells_for, common_length, library
from retrieval.engines.exact import FlatIndex
from retrieval.validation import Checked, whole

FIX = "pip install rabitqlib (wheels for Linux, Windows and macOS), or the extra bench"
NARROWEST = 64
"""Narrower vectors get zero columns: the library's rotation begins here."""
GRAPH_DEGREE = 32
"""Links of the library's graph over centroids; of fewer centroids it compares all."""


class RabitqEngine(Engine):
    """An index of ``rabitqlib`` over vectors of one length, by squared Euclidean distance."""

    def __init__(self, *, threads: int = 1) -> None:
        super().__init__(threads=threads)
        self._rabitqlib = library(self.name, "rabitqlib", FIX)
        self._index: Any = None
        self._length = 1.0  # of all vectors

    def resident_bytes(self) -> int:
        """See `Engine.resident_bytes`."""
        if self._index is None:
            return 0
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "index"
            self._index.save(str(path))
            return path.stat().st_size

    def _build(self, vectors: NDArray[np.float32]) -> None:
        length = common_length(self.name, vectors)
        self._index, self._length = self._make(_widened(vectors / np.float32(length))), length

    def _search(self, queries: NDArray[np.float32], k: int) -> Found:
        norms = np.linalg.norm(queries, axis=1, keepdims=True)
        near, distances = self._run(_widened(queries / norms), k)
        rows = near.astype(np.int64)
        rows[rows >= len(self)] = -1  # its mark of nothing found is the largest uint32
        return rows, self._length * norms * (2 - distances) / 2  # of unit vectors: 2 - 2 cos

    @abstractmethod
    def _make(self, vectors: NDArray[np.float32]) -> Any:
        """A built index of unit vectors ``[N, D]``, of `NARROWEST` columns at least."""

    @abstractmethod
    def _run(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """Rows and squared distances, each ``[Q, k]``."""


class SymphonyQg(RabitqEngine):
    """``SymqgIndex``; where there are no more vectors than links it compares all.

    Args:
        max_degree: Links a node, a multiple of 32; all nodes have so many.
        ef_construction: Breadth of the search that links a node.
        bits: Of the stored vectors a dimension: 0 (raw), 8 or 4. With 4 it stays below a recall@10 of 0.93 on
            20,000 x 256 vectors, as nothing rescores.
        ef: Breadth of a search.
        threads: See `retrieval.engines.base.Engine`.
    """

    name = "symphonyqg"
    search_params: ClassVar = {"ef": (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024)}
    ef = Checked(whole)

    def __init__(
        self,
        *,
        max_degree: int = 32,
        ef_construction: int = 200,
        bits: int = 0,
        ef: int = 64,
        threads: int = 1,
    ) -> None:
        super().__init__(threads=threads)
        self.max_degree = whole("max_degree", max_degree)
        if self.max_degree % 32:
            raise ValueError(f"max_degree={max_degree}: expected a multiple of 32")
        if bits not in (0, 4, 8):
            raise ValueError(f"bits={bits}: expected 0 (raw vectors), 8 or 4")
        self.ef_construction = whole("ef_construction", ef_construction)
        self.bits = bits
        self.ef = ef
        self._exact: FlatIndex | None = None

    def resident_bytes(self) -> int:
        """See `Engine.resident_bytes`."""
        return super().resident_bytes() if self._exact is None else self._exact.resident_bytes()

    def _build(self, vectors: NDArray[np.float32]) -> None:
        if len(vectors) > self.max_degree:
            super()._build(vectors)
            self._exact = None
            return
        exact = FlatIndex(threads=self.threads)
        exact.build(vectors, np.arange(len(vectors)))
        self._exact = exact

    def _search(self, queries: NDArray[np.float32], k: int) -> Found:
        return super()._search(queries, k) if self._exact is None else self._exact.search(queries, k)

    def _make(self, vectors: NDArray[np.float32]) -> Any:
        index = self._rabitqlib.SymqgIndex(vectors.shape[1], self.max_degree, "l2", self.bits)
        index.build(vectors, self.ef_construction, self.threads)
        return index

    def _run(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        found: tuple[NDArray[np.uint32], NDArray[np.float32]] = self._index.search_batch(
            queries, k, max(self.ef, k), self.threads
        )
        return found


class IvfRabitq(RabitqEngine):
    """``IvfIndex`` on the library's own k-means, which ends with the nearest centroid of every vector.

    Args:
        nlist: Cells; None takes `cells_for` so many vectors.
        bits: Of the codes a dimension, 1 to 9, which also rank the answers, or 32: one bit, and raw vectors
            that rescore what it lets through. 5 bits stay below a recall@10 of 0.98 on 20,000 x 256 vectors.
        nprobe: Cells scanned per query.
        threads: See `retrieval.engines.base.Engine`.
    """

    name = "ivf_rabitq"
    search_params: ClassVar = {"nprobe": PROBES}
    nprobe = Checked(whole)

    def __init__(
        self, *, nlist: int | None = None, bits: int = 9, nprobe: int = 16, threads: int = 1
    ) -> None:
        super().__init__(threads=threads)
        self.nlist = None if nlist is None else whole("nlist", nlist)
        self.bits = whole("bits", bits)
        if self.bits > 9 and self.bits != 32:
            raise ValueError(f"bits={bits}: expected 1 to 9, or 32 (raw vectors)")
        self.nprobe = nprobe

    def _make(self, vectors: NDArray[np.float32]) -> Any:
        count, width = vectors.shape
        cells = min(count, self.nlist or cells_for(count))
        kind = self._rabitqlib.QGKMeans if cells > GRAPH_DEGREE else self._rabitqlib.RaBitQKMeans
        nearest = self._rabitqlib.FinalAssignmentMode.Exact
        clusters = kind(width, cells, niter=10, num_threads=self.threads, final_assignment=nearest)
        clusters.train(vectors)
        index = self._rabitqlib.IvfIndex(width, count, cells, self.bits, "l2")
        index.build(vectors, clusters.centroids, clusters.assignments, self.threads)
        return index

    def _run(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        probes = min(self.nprobe, self._index.num_clusters)
        found: tuple[NDArray[np.uint32], NDArray[np.float32]] = self._index.search(
            queries, k, probes, num_threads=self.threads
        )
        return found


def _widened(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vectors with zero columns up to `NARROWEST`."""
    missing = NARROWEST - vectors.shape[1]
    return np.pad(vectors, ((0, 0), (0, missing))) if missing > 0 else vectors
