"""hnswlib: the reference implementation of hierarchical navigable small worlds."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from retrieval.engines.base import Engine, Found, library
from retrieval.validation import Checked, whole


class HnswLib(Engine):
    """``hnswlib.Index`` in the space ``ip``.

    Args:
        M: Links a node.
        ef_construction: Breadth of the search that links a new node.
        ef: Breadth of a search.
        threads: See `retrieval.engines.base.Engine`.
    """

    name = "hnswlib"
    search_params: ClassVar = {"ef": (16, 32, 64, 128, 256, 512, 1024)}
    ef = Checked(whole)

    def __init__(self, *, M: int = 32, ef_construction: int = 80, ef: int = 64, threads: int = 1) -> None:
        super().__init__(threads=threads)
        fix = "pip install hnswlib (built from source: needs a C++ compiler and Python's headers)"
        self._hnswlib = library(self.name, "hnswlib", fix)
        self.M = whole("M", M, 2)
        self.ef_construction = whole("ef_construction", ef_construction)
        self.ef = ef
        self._index: Any = None

    def resident_bytes(self) -> int:
        """See `Engine.resident_bytes`."""
        return 0 if self._index is None else int(self._index.index_file_size())

    def _build(self, vectors: NDArray[np.float32]) -> None:
        count, width = vectors.shape
        index = self._hnswlib.Index(space="ip", dim=width)
        index.init_index(max_elements=count, ef_construction=self.ef_construction, M=self.M)
        index.add_items(vectors, np.arange(count), num_threads=self.threads)
        self._index = index

    def _search(self, queries: NDArray[np.float32], k: int) -> Found:
        self._index.set_ef(max(self.ef, k))
        try:
            rows, distances = self._index.knn_query(queries, k=k, num_threads=self.threads)
        except RuntimeError:  # its answer where a query reaches fewer than k; `Engine.search` asks again
            return np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), -np.inf, np.float32)
        return rows.astype(np.int64), 1 - distances  # its distance is 1 - inner product

    def _search_all(self, queries: NDArray[np.float32], k: int) -> Found:
        """Exactly: a graph may have nodes that no other links to."""
        scores = queries @ np.asarray(self._index.get_items(np.arange(len(self))), np.float32).T
        rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return rows, np.take_along_axis(scores, rows, 1)
