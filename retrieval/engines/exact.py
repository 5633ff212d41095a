"""Exact nearest neighbors, the reference of all other indexes: every vector is compared with the query."""

from __future__ import annotations

from typing import ClassVar

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval.engines.base import FaissEngine, read_in_place
from retrieval.storage import mapping_of


class FlatIndex(FaissEngine):
    """Exact search by inner product with faiss's blocked matrix product; there is nothing to trade for speed.

    Vectors of a memory-mapped file are read from there, block by block.

    Args:
        threads: Threads of a search, see `retrieval.engines.base.Engine`.
    """

    name = "flat"
    search_params: ClassVar = {}
    in_place = True

    def resident_bytes(self) -> int:
        """Bytes of the vectors, float32, in memory."""
        return 0 if self._index is None or self._mapped is not None else len(self) * self._index.d * 4

    def _make(self, vectors: NDArray[np.float32]) -> faiss.Index:
        index = faiss.IndexFlatIP(vectors.shape[1])
        if mapping_of(vectors) is None:
            index.add(vectors)
        else:
            read_in_place(index, vectors)
        return index

    def _run(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        return self._index.search(queries, k)
