"""Exact nearest neighbours: every vector is looked at. The yardstick of all other indexes."""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval.protocol import check_content, check_search


class FlatIndex:
    """Exact search by inner product with faiss's blocked matrix product."""

    name = "flat"

    def __init__(self) -> None:
        self._index: faiss.IndexFlatIP | None = None
        self._ids: NDArray[np.int64] = np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self._ids)

    def build(self, vectors: NDArray[np.float32], ids: NDArray[np.int64]) -> None:
        """See `retrieval.protocol.Retriever.build`."""
        vectors, ids = check_content(vectors, ids)
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        self._index, self._ids = index, ids

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """See `retrieval.protocol.Retriever.search`."""
        width = 0 if self._index is None else self._index.d
        queries, k = check_search(queries, k, len(self), width)
        assert self._index is not None
        scores, rows = self._index.search(queries, k)
        return self._ids[rows], scores
