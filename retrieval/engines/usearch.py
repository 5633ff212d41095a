"""usearch: hierarchical navigable small worlds with kernels for each kind of processor."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from retrieval.engines.base import Engine, Found, library
from retrieval.validation import Checked, whole


class Usearch(Engine):
    """``usearch.index.Index`` with the metric ``ip``.

    Args:
        connectivity: Links a node.
        expansion_add: Breadth of the search that links a new node.
        expansion_search: Breadth of a search.
        dtype: Of the vectors that it keeps: ``f32``, ``bf16``, ``f16`` or ``i8``. On 50,000 x 256 vectors
            ``bf16`` answers 1.8 times as many queries as ``f32`` at equal recall; ``i8`` stays below 0.97.
        threads: See `retrieval.engines.base.Engine`.
    """

    name = "usearch"
    search_params: ClassVar = {"expansion_search": (16, 32, 64, 128, 256, 512, 1024)}
    expansion_search = Checked(whole)

    def __init__(
        self,
        *,
        connectivity: int = 32,
        expansion_add: int = 80,
        expansion_search: int = 64,
        dtype: str = "bf16",
        threads: int = 1,
    ) -> None:
        super().__init__(threads=threads)
        self._usearch = library(self.name, "usearch.index", "pip install usearch, or the extra bench")
        if dtype not in ("f32", "bf16", "f16", "i8"):
            raise ValueError(f"dtype={dtype}: expected f32, bf16, f16 or i8")
        self.connectivity = whole("connectivity", connectivity, 2)
        self.expansion_add = whole("expansion_add", expansion_add)
        self.expansion_search = expansion_search
        self.dtype = dtype
        self._index: Any = None

    def resident_bytes(self) -> int:
        """See `Engine.resident_bytes`."""
        return 0 if self._index is None else int(self._index.serialized_length)

    def _build(self, vectors: NDArray[np.float32]) -> None:
        count, width = vectors.shape
        index = self._usearch.Index(
            ndim=width,
            metric="ip",
            dtype=self.dtype,
            connectivity=self.connectivity,
            expansion_add=self.expansion_add,
            expansion_search=self.expansion_search,
        )
        index.add(np.arange(count, dtype=np.uint64), vectors, threads=self.threads)
        self._index = index

    def _search(self, queries: NDArray[np.float32], k: int) -> Found:
        self._index.expansion_search = max(self.expansion_search, k)
        return self._found(queries, k, exact=False)

    def _search_all(self, queries: NDArray[np.float32], k: int) -> Found:
        """By comparing with all vectors that it keeps: a graph may have nodes that no other links to."""
        return self._found(queries, k, exact=True)

    def _found(self, queries: NDArray[np.float32], k: int, *, exact: bool) -> Found:
        matches = self._index.search(queries, k, threads=self.threads, exact=exact)
        rows = np.full((len(queries), k), -1, np.int64)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        keys, distances = np.atleast_2d(matches.keys), np.atleast_2d(matches.distances)
        width = keys.shape[1]
        found = np.ones(keys.shape, bool)
        if matches.__class__.__name__ == "BatchMatches":  # a single query's are cut to what was found
            found = np.arange(width) < matches.counts[:, None]
        rows[:, :width][found] = keys[found].astype(np.int64)
        scores[:, :width][found] = 1 - distances[found]  # its distance is 1 - inner product
        return rows, scores
