"""The protocol of an index, by which every engine can stand in for another."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Retriever(Protocol):
    """An index of vectors by inner product."""

    @property
    def name(self) -> str:
        """Name of the index in `retrieval.make_index`; a plain attribute of the class will do."""

    def build(self, vectors: NDArray[np.float32], ids: NDArray[np.int64]) -> None:
        """Replaces the content of the index; what an error refuses leaves it as it was.

        Args:
            vectors: ``[N, D]``, at least one, of lengths from 1e-15 to 1e15; L2-normalized where cosine is
                meant (``diskann``, ``symphonyqg`` and ``ivf_rabitq`` take vectors of one length only, and
                ``diskann`` needs two).
            ids: ``[N]`` distinct whole numbers, 0 or more; what `search` returns.

        Raises:
            ValueError: If there is no vector, one is zero, not finite or of another length, an id is given
                twice or below 0, or the arrays do not fit each other.
        """

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The nearest vectors, best first.

        Args:
            queries: ``[Q, D]``, of lengths likewise.
            k: How many, at most ``N``. A filter that lets fewer through leaves the rest at id -1 and score
                minus infinity; so may an approximate engine that reaches fewer and cannot search more widely.

        Returns:
            ``(ids [Q, k], scores [Q, k])``.

        Raises:
            ValueError: If the index is empty or holds fewer than k, k is below 1 or no whole number, or a
                query is zero, not finite, or of another width than the index.
        """
