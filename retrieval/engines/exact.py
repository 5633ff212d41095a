"""Exact search as one of the engines: `retrieval.engines.flat.FlatIndex` with threads and sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from retrieval.engines.base import Found, faiss_threads
from retrieval.engines.flat import FlatIndex
from retrieval.validation import Checked, thread_count


class Flat(FlatIndex):
    """Looks at every vector; there is nothing to trade."""

    knobs: ClassVar[Mapping[str, tuple[int, ...]]] = {}
    threads = Checked(thread_count)

    def __init__(self, *, threads: int = 1) -> None:
        super().__init__()
        self.threads = threads

    def search(self, queries: NDArray[np.float32], k: int) -> Found:
        """See `retrieval.protocol.Retriever.search`."""
        with faiss_threads(self.threads):
            return super().search(queries, k)

    def resident_bytes(self) -> int:
        """Bytes of the vectors, float32."""
        return 0 if self._index is None else len(self) * self._index.d * 4
