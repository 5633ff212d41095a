"""Exact nearest neighbours: every vector is looked at. The yardstick of all other indexes."""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval.protocol import check_vectors


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
        vectors = check_vectors(vectors, "vectors")
        ids = np.asarray(ids, dtype=np.int64)
        if ids.shape != (len(vectors),):
            raise ValueError(f"ids of shape {ids.shape} for {len(vectors)} vectors: expected one id a vector")
        if len(ids) and ids.min() < 0:
            raise ValueError(f"id {ids.min()}: expected 0 or more (-1 means that nothing was found)")
        if len(np.unique(ids)) < len(ids):
            values, counts = np.unique(ids, return_counts=True)
            raise ValueError(
                f"id {values[counts.argmax()]} is given {counts.max()} times: expected distinct ids"
            )
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        self._index, self._ids = index, ids

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """See `retrieval.protocol.Retriever.search`."""
        if self._index is None:
            raise ValueError("search on an empty index: call build(vectors, ids) first")
        if k < 1:
            raise ValueError(f"k={k}: expected at least 1")
        queries = check_vectors(queries, "queries", self._index.d)
        scores, rows = self._index.search(queries, k)
        found = rows >= 0
        ids = np.full(rows.shape, -1, np.int64)
        ids[found] = self._ids[rows[found]]
        return ids, np.where(found, scores, -np.inf).astype(np.float32)
