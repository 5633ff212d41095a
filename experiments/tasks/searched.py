"""Search by ERS instead of by all scores: what it finds, and how much of exact search's first that is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from experiments.tasks.measured import BOOTSTRAP, Bootstrap, Measured, measure_means
from experiments.tasks.prompts import unit
from retrieval import ErsIndex, KnownPairs, MemoryIndex
from retrieval.ers.backend import Backend

FOUND = 100
"""Items that are asked of the index; what it does not find counts as behind all."""
NEAREST = 10
"""Of exact search, that the index should find."""
RECALL = 0.99
"""Share of these that the index is tuned for."""
COMPILED_FROM = 50_000
"""Items from which on ERS searches with compiled code, which takes longer to load than a small search."""
Ids = NDArray[np.int64]


def ers_ids(
    queries: NDArray[np.floating],
    items: NDArray[np.floating],
    pairs: KnownPairs | None = None,
    strengths: tuple[float, float] = (0.0, 0.0),
    *,
    seed: int = 0,
) -> Ids:
    """Ids ``[Q, k]`` that ERS finds, best first, ``k`` at most `FOUND`; ids are rows.

    The index is tuned on the queries, without their answers, for a recall of `RECALL` against exact search.

    Args:
        queries: ``[Q, E]``.
        items: ``[N, E]``; those that are mapped are of unit length and float32, and are not copied.
        pairs: Known pairs; None: plain cosines rank.
        strengths: Of recall and of hubness.
        seed: Of the index.
    """
    backend: Backend = "faiss" if len(items) < COMPILED_FROM else "auto"
    index = ErsIndex(seed=seed, backend=backend)
    vectors = items if isinstance(items, np.memmap) else unit_float32(items)
    asked = unit_float32(queries)
    rows, count = np.arange(len(items)), min(FOUND, len(items))
    if pairs is None:
        index.build(vectors, rows)
        index.tune(RECALL, asked)
        return index.search(asked, count)[0]
    around = MemoryIndex(index, pairs, recall=strengths[0], hubness=strengths[1])
    around.build(vectors, rows)
    index.tune(RECALL)
    return around.search(asked, count)[0]


def scores_of_ids(ids: Ids, count: int) -> NDArray[np.float32]:
    """Scores ``[Q, count]`` that put ids ``[Q, k]`` in their order, and what was not found behind them."""
    scores = np.zeros((len(ids), count), np.float32)
    places = np.broadcast_to(np.arange(ids.shape[1], 0, -1, dtype=np.float32), ids.shape)
    rows, columns = np.nonzero(ids >= 0)
    scores[rows, ids[rows, columns]] = places[rows, columns]
    return scores


def recall_of_exact(
    ids: Ids, exact: Ids, bootstrap: Bootstrap = BOOTSTRAP, clusters: Ids | None = None
) -> Measured:
    """The mean share of exact search's first `NEAREST`, ``[Q, ...]``, among an index's first as many.

    Args:
        ids: ``[Q, k]`` that the index found, best first.
        exact: ``[Q, k']`` of exact search, best first.
        bootstrap: Over queries, or what they belong to.
        clusters: ``[Q]``, see `experiments.tasks.measured.measure`.
    """
    nearest = exact[:, :NEAREST]
    found = ids[:, : nearest.shape[1]]
    shares = (nearest[:, :, None] == found[:, None, :]).any(axis=2).mean(axis=1)
    (measured,) = measure_means({f"recall@{nearest.shape[1]}": shares}, bootstrap, clusters)
    return measured


def nearest_ids(scores: NDArray[np.floating], count: int = NEAREST) -> Ids:
    """Columns ``[Q, count]`` of the highest scores ``[Q, N]``, best first; ties by the lowest column."""
    count = min(count, scores.shape[1])
    return np.argsort(-scores, axis=1, kind="stable")[:, :count]


def unit_float32(vectors: NDArray[np.floating], rows: int = 65_536) -> NDArray[np.float32]:
    """Vectors ``[N, E]`` of length 1 in float32, piece by piece.

    Raises:
        ValueError: One is zero or not finite.
    """
    found = np.empty(vectors.shape, np.float32)
    for start in range(0, len(vectors), rows):
        found[start : start + rows] = unit(vectors[start : start + rows])
    return found
