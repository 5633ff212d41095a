"""What every index offers, so that they can stand in for each other."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Retriever(Protocol):
    """An index of vectors by inner product."""

    name: str

    def build(self, vectors: NDArray[np.float32], ids: NDArray[np.int64]) -> None:
        """Replaces the content of the index.

        Args:
            vectors: ``[N, D]``, L2-normalised where cosine is meant.
            ids: ``[N]`` distinct ids, 0 or more; what `search` returns.

        Raises:
            ValueError: if the arrays do not fit each other, or a value is not finite.
        """

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The nearest vectors, best first.

        Args:
            queries: ``[Q, D]``.
            k: how many; where fewer are found, the rest is id -1 and score minus infinity.

        Returns:
            ``(ids [Q, k], scores [Q, k])``.

        Raises:
            ValueError: if the width differs from that of the index, or k is below 1 (or, by an engine's
                choice, above ``N``).
        """


def check_vectors(vectors: NDArray[np.float32], name: str, width: int | None = None) -> NDArray[np.float32]:
    """Vectors as contiguous float32 ``[N, D]``, or a ValueError that says what is wrong with them."""
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if vectors.ndim != 2:
        raise ValueError(f"{name} of shape {vectors.shape}: expected [N, D]")
    if width is not None and vectors.shape[1] != width:
        raise ValueError(f"{name} of width {vectors.shape[1]}: the index was built with {width}")
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(1))[0])
        raise ValueError(f"{name}[{row}] has a value that is not finite")
    return vectors
