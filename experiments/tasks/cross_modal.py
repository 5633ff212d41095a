"""Cross-modal retrieval with any right item: R@k and MRR of first captions, RR@k and NDCG@5 of all of them.

As Text2Shape (Chen et al., 2018) has it, a query is answered at the rank of its best-placed right item. From
text to shape each caption asks for the shapes; from shape to text each shape asks for the captions. R@k and
MRR are asked by the first caption of each shape, as the results of runs have it, RR@k and NDCG@5 by every
caption; where shapes ask, there is no difference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.tasks.measured import BOOTSTRAP, Bootstrap, Measured, Values, measure_means
from retrieval.metrics import gains_at_k, ranks_from_scores

RECALLS = (1, 5, 10)
ANY_RECALLS = (1, 5)
GAINS = 5
ROWS = 512
"""Queries that are sorted at a time."""


@dataclass(frozen=True)
class CrossModal:
    """Result of a retrieval.

    Attributes:
        text_to_shape: ``R@1`` ... ``NDCG@5``.
        shape_to_text: Likewise.
        captions: Size of the gallery that shapes search.
        shapes: Size of the gallery that captions search.
    """

    text_to_shape: tuple[Measured, ...]
    shape_to_text: tuple[Measured, ...]
    captions: int
    shapes: int


def cross_modal(
    scores: NDArray[np.floating],
    positives: NDArray[np.bool_],
    first: NDArray[np.int64],
    bootstrap: Bootstrap = BOOTSTRAP,
    *,
    of_shapes: NDArray[np.floating] | None = None,
) -> CrossModal:
    """Measures both directions.

    Args:
        scores: ``[Q, N]`` of captions with shapes, higher is better.
        positives: ``[Q, N]`` bool: which captions are of which shapes.
        first: ``[N]`` the first caption of each shape.
        bootstrap: Over shapes; the captions of a shape are drawn together (those of several with the first).
        of_shapes: ``[N, Q]`` of shapes with captions where these differ from the transpose, as after
            re-ranking.

    Raises:
        ValueError: As `ranks_from_scores`, or a caption is of no shape.
    """
    if not positives.any(axis=1).all():
        raise ValueError(f"caption {int((~positives.any(axis=1)).argmax())} is of none of the shapes")
    ranks, gains = ranks_from_scores(scores, positives), ndcg(scores, positives, GAINS)
    own = positives.argmax(axis=1)
    firsts = measure_means(_recalls(ranks[first], RECALLS, "R@", mrr=True), bootstrap)
    every = measure_means(
        _recalls(ranks, ANY_RECALLS, "RR@") | {f"NDCG@{GAINS}": gains}, bootstrap, clusters=own
    )
    backward = scores.T if of_shapes is None else of_shapes
    shape_ranks = ranks_from_scores(backward, positives.T)
    shapes = measure_means(
        _recalls(shape_ranks, RECALLS, "R@", mrr=True)
        | _recalls(shape_ranks, ANY_RECALLS, "RR@")
        | {f"NDCG@{GAINS}": ndcg(backward, positives.T, GAINS)},
        bootstrap,
    )
    return CrossModal((*firsts, *every), shapes, *scores.shape)


def ndcg(scores: NDArray[np.floating], positives: NDArray[np.bool_], k: int) -> Values:
    """NDCG@k of each query, ``[Q]``, see `gains_at_k`; of items with equal scores the wrong come first.

    Args:
        scores: ``[Q, N]``.
        positives: ``[Q, N]``.
        k: How many of the first count.
    """
    gains = []
    for start in range(0, len(scores), ROWS):
        part, right = scores[start : start + ROWS], positives[start : start + ROWS]
        best = np.lexsort((right, -part), axis=1)[:, :k]
        gains.append(gains_at_k(best, [np.flatnonzero(row) for row in right], k))
    return np.concatenate(gains) if gains else np.empty(0)


def _recalls(
    ranks: NDArray[np.int64], cutoffs: tuple[int, ...], prefix: str, *, mrr: bool = False
) -> dict[str, Values]:
    found = {f"{prefix}{k}": (ranks <= k).astype(np.float64) for k in cutoffs}
    return found | ({"MRR": 1.0 / ranks} if mrr else {})
