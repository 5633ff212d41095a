"""The last word on a few candidates: a caller's scores in place of the similarity."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from retrieval.hierarchy import Floats, Ints

Reranker = Callable[[Ints, Ints], NDArray[np.floating]]


def reranked(ids: Ints, reranker: Reranker, k: int) -> tuple[Ints, Floats]:
    """The best ``k`` of candidates ``ids [Q, C]`` (-1 for none) by a re-ranker; of equals the smaller id.

    Raises:
        ValueError: if the re-ranker returns another shape, or NaN.
    """
    scores = np.array(reranker(np.arange(len(ids)), ids), dtype=np.float32)
    if scores.shape != ids.shape:
        raise ValueError(f"the re-ranker returned scores {scores.shape} for candidates {ids.shape}")
    if np.isnan(scores[ids >= 0]).any():
        raise ValueError("the re-ranker returned NaN: its model diverged")
    scores[ids < 0] = -np.inf
    # Equal scores by id; what is no candidate stands last even beside a score of minus infinity.
    order = np.lexsort((ids, -scores, ids < 0), axis=1)[:, :k]
    return np.take_along_axis(ids, order, 1), np.take_along_axis(scores, order, 1)
