"""Quality of a ranking: recall at k, mean reciprocal rank, NDCG, with several right answers per query.

For all but NDCG a query counts as answered at the rank of its best-placed right answer. Ties count against
us: a wrong item with the same score as the best right one is taken to stand before it, so that a model that
gives every item one score gets nothing for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def ranks_from_scores(scores: NDArray[np.floating], positives: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Ranks of the best right answers in a full matrix of scores.

    Args:
        scores: ``[Q, N]``, higher is better.
        positives: ``[Q, N]`` bool, true at the right answers.

    Returns:
        ``[Q]`` ranks from 1: one more than the wrong items that score at least as high as the best right one.
        ``N + 1`` for a query without a right answer.

    Raises:
        ValueError: If the shapes differ or a score is NaN.
    """
    scores, positives = np.asarray(scores), np.asarray(positives, dtype=bool)
    if scores.ndim != 2 or scores.shape != positives.shape:
        raise ValueError(f"scores {scores.shape} and positives {positives.shape}: expected one shape [Q, N]")
    if np.isnan(scores).any():
        raise ValueError(
            f"scores[{int(np.flatnonzero(np.isnan(scores).any(1))[0])}] has NaN: the model diverged"
        )
    best = np.where(positives, scores, -np.inf).max(axis=1, initial=-np.inf)
    ahead = (~positives & (scores >= best[:, None])).sum(axis=1)
    return np.where(positives.any(axis=1), ahead + 1, scores.shape[1] + 1).astype(np.int64)


def ranks_from_ids(ids: NDArray[np.int64], right: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Ranks of the best right answers in lists of ids, best first, as an index returns them.

    Args:
        ids: ``[Q, k]``; -1 where nothing was found.
        right: For each query the ids of its right answers.

    Returns:
        ``[Q]`` ranks from 1; ``k + 1`` where no right answer is in the list.

    Raises:
        ValueError: If there is not one set of right answers per query.
    """
    ids = np.asarray(ids)
    if ids.ndim != 2 or len(ids) != len(right):
        raise ValueError(f"ids {ids.shape} and {len(right)} sets of right answers: expected [Q, k] and Q")
    ranks = np.full(len(ids), ids.shape[1] + 1, np.int64)
    for query, answers in enumerate(right):
        hits = np.flatnonzero(np.isin(ids[query], answers) & (ids[query] >= 0))
        if len(hits):
            ranks[query] = hits[0] + 1
    return ranks


def recall_at_k(ranks: NDArray[np.int64], k: int) -> float:
    """Share of the queries with a right answer among the first k, in [0, 1] (RR@k of Text2Shape)."""
    if len(ranks) == 0:
        raise ValueError("recall of no queries: the split is empty")
    return float((np.asarray(ranks) <= k).mean())


def mean_reciprocal_rank(ranks: NDArray[np.int64]) -> float:
    """Mean of 1/rank over the queries, in [0, 1]."""
    if len(ranks) == 0:
        raise ValueError("reciprocal rank of no queries: the split is empty")
    return float((1.0 / np.asarray(ranks, dtype=np.float64)).mean())


def ndcg_at_k(ids: NDArray[np.int64], right: Sequence[NDArray[np.int64]], k: int) -> float:
    """Mean of `gains_at_k` over the queries, in [0, 1].

    Raises:
        ValueError: If there is not one set of right answers per query, there are no queries, or k is below 1.
    """
    gains = gains_at_k(ids, right, k)
    if len(gains) == 0:
        raise ValueError("gain of no queries: the split is empty")
    return float(gains.mean())


def gains_at_k(ids: NDArray[np.int64], right: Sequence[NDArray[np.int64]], k: int) -> NDArray[np.float64]:
    """Normalized discounted cumulative gains of lists of ids, as Järvelin and Kekäläinen (2002).

    The gain of an id is ``2^rel - 1`` (Burges et al., 2005), so 1 for a right answer and 0 for another,
    divided by ``log2(rank + 1)``; the sum over the first k is divided by that of the ideal list, which begins
    with all right answers, at most k.

    Args:
        ids: ``[Q, n]`` best first, -1 where nothing was found.
        right: For each query the ids of its right answers.
        k: How many of each list count.

    Returns:
        ``[Q]`` in [0, 1]; 0 for a query without a right answer.

    Raises:
        ValueError: If there is not one set of right answers per query, or k is below 1.
    """
    ids = np.asarray(ids)
    if ids.ndim != 2 or len(ids) != len(right):
        raise ValueError(f"ids {ids.shape} and {len(right)} sets of right answers: expected [Q, n] and Q")
    if k < 1:
        raise ValueError(f"k={k}: expected at least 1")
    discount = 1 / np.log2(np.arange(2, k + 2))  # ranks 1 to k
    ideal = np.concatenate([[0.0], np.cumsum(discount)])
    gains = np.zeros(len(ids))
    for query, (found, answers) in enumerate(zip(ids[:, :k], right, strict=True)):
        answers = np.unique(answers)
        hits = np.isin(found, answers) & (found >= 0)
        if len(answers):
            gains[query] = discount[: len(found)][hits].sum() / ideal[min(len(answers), k)]
    return gains


def summarize(ranks: NDArray[np.int64], cutoffs: Sequence[int] = (1, 5, 10)) -> dict[str, float]:
    """``{"recall@1": …, "recall@5": …, "recall@10": …, "mrr": …}``."""
    return {f"recall@{k}": recall_at_k(ranks, k) for k in cutoffs} | {"mrr": mean_reciprocal_rank(ranks)}
