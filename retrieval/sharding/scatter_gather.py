"""Search of several shards as one: queries go where answers can lie, and the best of all answers are kept.

The shard that a query's nearest cell lies in is asked first. Its ``k``-th score is what the others must be
able to reach: those that the descent keeps are asked next, all together, but for the ones whose bound is
below it. Where fewer than ``k`` were found, as behind a filter, the rest are asked too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from retrieval.ers.hierarchy import Floats, Ints
from retrieval.sharding.partition import Routes

Ask = Callable[[Mapping[int, Ints]], Mapping[int, tuple[Ints, Floats]]]
"""Searches shards for rows of the queries: ids and scores ``[rows, m]`` of each shard, best first."""


def scatter_gather(
    ask: Ask, queries: int, k: int, there: NDArray[np.bool_], routes: Routes | None
) -> tuple[Ints, Floats, int]:
    """The best answers of all shards.

    Args:
        ask: Searches shards.
        queries: Q.
        k: How many answers.
        there: ``[S]`` shards that have vectors.
        routes: Of the queries; None asks all shards at once.

    Returns:
        ``(ids [Q, k], scores [Q, k])``, padded with -1 and minus infinity, ties broken by the lowest id; and
        number of queries that a shard was asked.
    """
    ids = np.full((queries, k), -1, np.int64)
    scores = np.full((queries, k), -np.inf, np.float32)
    asked = np.zeros((queries, len(there)), bool)

    def take(wanted: NDArray[np.bool_]) -> None:
        wanted = wanted & there & ~asked
        shards = np.flatnonzero(wanted.any(axis=0)).tolist()
        for shard, found in ask({shard: np.flatnonzero(wanted[:, shard]) for shard in shards}).items():
            rows = np.flatnonzero(wanted[:, shard])
            ids[rows], scores[rows] = merged((ids[rows], scores[rows]), found)
        asked[wanted] = True

    if routes is not None:
        take(np.arange(len(there)) == routes.home[:, None])
        take(routes.near & (routes.bounds >= scores[:, -1:]))
    short = ids[:, -1] < 0
    if short.any():
        take(np.broadcast_to(short[:, None], asked.shape))
    return ids, scores, int(asked.sum())


def merged(first: tuple[Ints, Floats], second: tuple[Ints, Floats]) -> tuple[Ints, Floats]:
    """As many of the best of two lists of answers ``[n, k]`` and ``[n, m]`` as the first has, best first."""
    ids, scores = np.concatenate([first[0], second[0]], 1), np.concatenate([first[1], second[1]], 1)
    order = np.lexsort((ids, -scores, ids < 0), axis=1)[:, : first[0].shape[1]]
    return np.take_along_axis(ids, order, 1), np.take_along_axis(scores, order, 1)
