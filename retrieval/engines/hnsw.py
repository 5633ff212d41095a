"""faiss's graph: hierarchical navigable small worlds (Malkov and Yashunin, 2018), float32 vectors."""

from __future__ import annotations

from typing import ClassVar

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval.engines.base import FaissEngine, Found, faiss_threads
from retrieval.validation import Checked, whole


class Hnsw(FaissEngine):
    """``IndexHNSWFlat``.

    Args:
        M: Links a node.
        efConstruction: Breadth of the search that links a new node.
        efSearch: Breadth of a search.
        threads: See `retrieval.engines.base.Engine`.
    """

    name = "hnsw"
    search_params: ClassVar = {"efSearch": (16, 32, 64, 128, 256, 512, 1024)}
    efSearch = Checked(whole)

    def __init__(
        self,
        *,
        M: int = 32,
        efConstruction: int = 80,
        efSearch: int = 64,
        threads: int = 1,
    ) -> None:
        super().__init__(threads=threads)
        self.M = whole("M", M, 2)
        self.efConstruction = whole("efConstruction", efConstruction)
        self.efSearch = efSearch

    def _make(self, vectors: NDArray[np.float32]) -> faiss.Index:
        index = faiss.IndexHNSWFlat(vectors.shape[1], self.M, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = self.efConstruction
        index.add(vectors)
        return index

    def _run(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        self._index.hnsw.efSearch = max(self.efSearch, k)
        return self._index.search(queries, k)

    def _search_all(self, queries: NDArray[np.float32], k: int) -> Found:
        """Exactly: a graph may have nodes that no other links to."""
        with faiss_threads(self.threads):
            scores, rows = self._index.storage.search(queries, k)
        return rows, scores
