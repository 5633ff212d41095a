"""A level of the descent in compiled code: the best children of the nodes that a query has reached.

All functions take ``products`` of queries with the children of their parents, or make them; ``bounds`` are
one level's `retrieval.ers.hierarchy.SemanticHierarchy.first_child`, ``parents`` ``[Q, W]`` are -1 after the
last.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from compiling import cached_njit, inlined


@cached_njit()
def _insert(
    node: int,
    rank: np.float32,
    similarity: np.float32,
    filled: int,
    nodes: NDArray[np.int64],
    ranks: NDArray[np.float32],
    similarities: NDArray[np.float32],
) -> int:
    """Keeps the best of a stream in order, ties broken by the lowest node; returns how many there are."""
    if filled == len(nodes):
        last = filled - 1
        if rank < ranks[last] or (rank == ranks[last] and node > nodes[last]):
            return filled
        place = last
    else:
        place = filled
        filled += 1
    while place > 0 and (rank > ranks[place - 1] or (rank == ranks[place - 1] and node < nodes[place - 1])):
        nodes[place] = nodes[place - 1]
        ranks[place] = ranks[place - 1]
        similarities[place] = similarities[place - 1]
        place -= 1
    nodes[place] = node
    ranks[place] = rank
    similarities[place] = similarity
    return filled


@cached_njit()
def _keep_best(
    products: NDArray[np.float32],
    bounds: NDArray[np.int64],
    prior: NDArray[np.float32],
    parents: NDArray[np.int64],
    ranks: NDArray[np.float32],
    best: NDArray[np.int64],
    best_similarities: NDArray[np.float32],
) -> None:
    """Fills `best` with children of one query's parents; ``products`` has a row per parent."""
    filled, width = 0, len(best)
    for slot in range(len(parents)):
        parent = parents[slot]
        if parent < 0:
            break
        for child in range(bounds[parent], bounds[parent + 1]):
            similarity = products[slot, child - bounds[parent]]
            rank = np.float32(similarity + prior[child])
            if filled == width and rank < ranks[width - 1]:
                continue  # most children: not worth a call
            filled = _insert(child, rank, similarity, filled, best, ranks, best_similarities)


@cached_njit()
def select(
    products: NDArray[np.float32],
    bounds: NDArray[np.int64],
    prior: NDArray[np.float32],
    parents: NDArray[np.int64],
    width: int,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The best children ``[Q, width]``, -1 for none, and their similarities without the prior."""
    nodes = np.full((len(parents), width), -1, np.int64)
    similarities = np.full((len(parents), width), -np.inf, np.float32)
    ranks = np.empty(width, np.float32)
    for query in range(len(parents)):
        _keep_best(products[query], bounds, prior, parents[query], ranks, nodes[query], similarities[query])
    return nodes, similarities


@inlined(fastmath={"reassoc", "contract"})
def _dot(a: NDArray[np.float32], b: NDArray[np.float32]) -> np.float32:
    total = np.float32(0)
    for column in range(len(a)):
        total += a[column] * b[column]
    return total


@cached_njit()
def level_by_query(
    queries: NDArray[np.float32],
    centroids: NDArray[np.float32],
    bounds: NDArray[np.int64],
    prior: NDArray[np.float32],
    parents: NDArray[np.int64],
    width: int,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The same as `select`, the products made for each query by itself."""
    nodes = np.full((len(parents), width), -1, np.int64)
    similarities = np.full((len(parents), width), -np.inf, np.float32)
    ranks = np.empty(width, np.float32)
    products = np.empty((parents.shape[1], np.diff(bounds).max()), np.float32)
    for query in range(len(parents)):
        for slot in range(parents.shape[1]):
            parent = parents[query, slot]
            if parent < 0:
                break
            for child in range(bounds[parent], bounds[parent + 1]):
                products[slot, child - bounds[parent]] = _dot(queries[query], centroids[child])
        _keep_best(products, bounds, prior, parents[query], ranks, nodes[query], similarities[query])
    return nodes, similarities
