"""Going down the tree with a beam of nodes, for all queries of a batch together.

Nodes are ranked by ``sim(q, μ) + prior``, the prior being what use has taught (`retrieval.ers.feedback`).
A batch takes one matrix product for each parent that any of its queries reached, at most the parents' number
however many queries there are; a few queries go through one compiled loop, where the products would cost
more in calls than in arithmetic. The two differ by rounding only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from compiling import cached_njit, inlined
from retrieval.ers.hierarchy import Floats, Ints, SemanticHierarchy

FEW_QUERIES = 16  # up to here the compiled loop is faster than grouped products


def level_widths(hierarchy: SemanticHierarchy, beam: int) -> list[int]:
    """Nodes kept on each level: ``beam`` leaves; above, enough to hold sixteen times as many, 12 at least.

    The best leaves of a query hang under many branches. Branches that would hold eight times the beam, 4 at
    least, cost 2 points of recall@10 on 50,000 vectors in 900 leaves against looking at every leaf.
    """
    widths = []
    for level in range(hierarchy.depth - 1):
        nodes = len(hierarchy.centroids[level])
        enough = -(-16 * beam * nodes // hierarchy.leaf_count)
        widths.append(min(nodes, max(12, enough)))
    return [*widths, min(beam, hierarchy.leaf_count)]


def descend(
    hierarchy: SemanticHierarchy, priors: list[Floats], queries: Floats, beam: int
) -> tuple[list[Ints], Floats]:
    """The best nodes of every level.

    Args:
        hierarchy: the tree.
        priors: per level ``[M_l]``, added to the similarities when nodes are ranked.
        queries: ``[Q, D]`` contiguous float32.
        beam: leaves a query, at least 1.

    Returns:
        Per level the kept nodes ``[Q, W_l]``, best first, -1 where a query reached fewer; and the leaves'
        similarities ``[Q, W]``, without the prior.
    """
    kept: list[Ints] = []
    similarities = np.empty((len(queries), 0), np.float32)
    nodes = np.zeros((len(queries), 1), np.int64)  # the root
    for level, width in enumerate(level_widths(hierarchy, beam)):
        centroids, bounds, prior = hierarchy.centroids[level], hierarchy.first_child[level], priors[level]
        if len(queries) <= FEW_QUERIES:
            nodes, similarities = _level_by_query(queries, centroids, bounds, prior, nodes, width)
        else:
            products = _products_by_parent(queries, centroids, bounds, nodes)
            nodes, similarities = _select(products, bounds, prior, nodes, width)
        kept.append(nodes)
    return kept, similarities


def nearest_leaves(hierarchy: SemanticHierarchy, vectors: Floats) -> Ints:
    """``[N]``: the leaf that each vector belongs in, by similarity alone."""
    blank = [np.zeros(len(nodes), np.float32) for nodes in hierarchy.centroids]
    kept, _ = descend(hierarchy, blank, vectors, 1)
    return kept[-1][:, 0]


def _products_by_parent(queries: Floats, centroids: Floats, bounds: Ints, parents: Ints) -> Floats:
    """Similarities ``[Q, W, C]`` of every query with the children of its ``W`` parents (C: most children)."""
    query_count, width = parents.shape
    most = int(np.diff(bounds).max())
    products = np.empty((query_count * width, most), np.float32)
    flat = parents.ravel()
    order = np.argsort(flat, kind="stable")
    starts = np.searchsorted(flat[order], np.arange(len(bounds)))
    for parent in range(len(bounds) - 1):
        places = order[starts[parent] : starts[parent + 1]]
        if len(places):
            children = centroids[bounds[parent] : bounds[parent + 1]]
            products[places, : len(children)] = queries[places // width] @ children.T
    return products.reshape(query_count, width, most)


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
    """Keeps the best of a stream in order; of equal ranks the smaller node stands first. Returns the fill."""
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
    """Of one query: fills `best` with the children of its parents, `products` has a row a parent."""
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
def _select(
    products: NDArray[np.float32],
    bounds: NDArray[np.int64],
    prior: NDArray[np.float32],
    parents: NDArray[np.int64],
    width: int,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
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
def _level_by_query(
    queries: NDArray[np.float32],
    centroids: NDArray[np.float32],
    bounds: NDArray[np.int64],
    prior: NDArray[np.float32],
    parents: NDArray[np.int64],
    width: int,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
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
