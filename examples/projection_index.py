"""An index in one file: it compares random projections of the vectors and rescores the best exactly."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from retrieval import register_engine
from retrieval.validation import Checked, check_content, check_search, whole


@register_engine("projection")
class ProjectionIndex:
    """Inner products of a few random projections choose the candidates, as Johnson and Lindenstrauss suggest.

    Args:
        dimensions: Random directions that vectors are projected on.
        candidates: Vectors that are rescored exactly per query, at least k.
    """

    name: str
    search_params: ClassVar = {"candidates": (20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)}
    candidates = Checked(whole)

    def __init__(self, *, dimensions: int = 32, candidates: int = 200) -> None:
        self.dimensions, self.candidates = whole("dimensions", dimensions), candidates
        self._ids = np.empty(0, np.int64)
        self._vectors = np.empty((0, 0), np.float32)

    def build(self, vectors: NDArray[np.float32], ids: NDArray[np.int64]) -> None:
        """See `retrieval.Retriever.build`."""
        self._vectors, self._ids = check_content(vectors, ids)
        shape = (self._vectors.shape[1], self.dimensions)
        self._directions = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        self._projected = self._vectors @ self._directions

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """See `retrieval.Retriever.search`."""
        queries, k = check_search(queries, k, len(self._ids), self._vectors.shape[1])
        ids, scores = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
        count = min(max(self.candidates, k), len(self._ids))
        for row, query in enumerate(queries):
            rough = self._projected @ (query @ self._directions)
            rows = np.argpartition(-rough, count - 1)[:count]
            exact = self._vectors[rows] @ query
            best = np.lexsort((self._ids[rows], -exact))[:k]
            ids[row], scores[row] = self._ids[rows[best]], exact[best]
        return ids, scores

    def resident_bytes(self) -> int:
        """Bytes of the vectors and their projections."""
        return 0 if not len(self._ids) else self._vectors.nbytes + self._projected.nbytes
