"""Relevance feedback on a query vector, and the index that both searchers ask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval.ers.backend import Backend

TOWARDS, AWAY = 0.5, 0.25
"""Weights of the mean of liked and of disliked shapes beside the query: a half of the query's own, and a half
of that for what is only known not to be meant."""
COMPILED_FROM = 50_000
"""Shapes of a library from which on ERS searches with compiled code."""


def moved(
    query: NDArray[np.float32], vectors: NDArray[np.float32], like: Sequence[int], unlike: Sequence[int]
) -> NDArray[np.float32]:
    """A query ``[1, D]`` towards and away from vectors, of unit length (Rocchio, 1971).

    Args:
        query: Of unit length.
        vectors: ``[N, D]`` of the shapes.
        like: Rows of those that are meant.
        unlike: Rows of those that are not.
    """
    for rows, weight in ((like, TOWARDS), (unlike, -AWAY)):
        if rows:
            query = query + np.float32(weight) * vectors[list(rows)].mean(0)
    return query / np.maximum(np.linalg.norm(query, axis=1, keepdims=True), np.float32(1e-12))


def backend_for(count: int) -> Backend:
    """Backend of ERS over so many shapes: loading compiled code takes longer than what faiss does at once."""
    return "faiss" if count < COMPILED_FROM else "auto"
