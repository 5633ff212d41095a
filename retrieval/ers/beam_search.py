"""Beam search down the tree for all queries of a batch together.

Nodes are ranked by ``sim(q, μ) + prior``, the prior being what feedback has taught
(`retrieval.ers.feedback`). A batch takes one matrix product for each parent that any of its queries reached.
With the backend ``numba`` compiled code selects the best nodes, and makes the products of a few queries too,
which would cost more in calls than in arithmetic. The ways differ by rounding only.
"""

from __future__ import annotations

import numpy as np

from retrieval.ers.backend import Chosen
from retrieval.ers.hierarchy import Floats, Ints, SemanticHierarchy
from retrieval.ers.kernels.descent import level_by_query, select

FEW_QUERIES = 16  # up to here the compiled loop is faster than grouped products
_NO_NODE = 2**31 - 1  # behind all nodes


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
    hierarchy: SemanticHierarchy,
    priors: list[Floats],
    queries: Floats,
    beam: int,
    backend: Chosen = "numba",
) -> tuple[list[Ints], Floats]:
    """The best nodes of every level.

    Args:
        hierarchy: The tree.
        priors: Per level ``[M_l]``, added to the similarities when nodes are ranked.
        queries: ``[Q, D]`` contiguous float32.
        beam: Leaves per query, at least 1.
        backend: See `retrieval.ers.backend`.

    Returns:
        Per level the kept nodes ``[Q, W_l]``, best first, -1 where a query reached fewer; and the leaves'
        similarities ``[Q, W]``, without the prior.
    """
    kept: list[Ints] = []
    similarities = np.empty((len(queries), 0), np.float32)
    nodes = np.zeros((len(queries), 1), np.int64)  # the root
    for level, width in enumerate(level_widths(hierarchy, beam)):
        centroids, bounds, prior = hierarchy.centroids[level], hierarchy.first_child[level], priors[level]
        if backend == "numba" and len(queries) <= FEW_QUERIES:
            nodes, similarities = level_by_query(queries, centroids, bounds, prior, nodes, width)
        else:
            products = _products_by_parent(queries, centroids, bounds, nodes)
            chosen = select if backend == "numba" else _select
            nodes, similarities = chosen(products, bounds, prior, nodes, width)
        kept.append(nodes)
    return kept, similarities


def nearest_leaves(hierarchy: SemanticHierarchy, vectors: Floats, backend: Chosen = "numba") -> Ints:
    """``[N]``: the leaf that each vector belongs in, by similarity alone."""
    blank = [np.zeros(len(nodes), np.float32) for nodes in hierarchy.centroids]
    kept, _ = descend(hierarchy, blank, vectors, 1, backend)
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


def _select(products: Floats, bounds: Ints, prior: Floats, parents: Ints, width: int) -> tuple[Ints, Floats]:
    """The best children, best first, ties broken by the lowest node; see `kernels.descent.select`."""
    children = bounds[parents][:, :, None] + np.arange(products.shape[2])  # [Q, W, C]
    there = (parents >= 0)[:, :, None] & (children < bounds[parents + 1][:, :, None])
    nodes = np.where(there, children, _NO_NODE).reshape(len(parents), -1)
    known = np.where(there, products, -np.inf).reshape(len(parents), -1)
    ranks = np.where(nodes < _NO_NODE, known + prior[np.minimum(nodes, len(prior) - 1)], -np.inf)
    best = _largest(ranks.astype(np.float32), nodes, width)
    found, similarities = (np.take_along_axis(part, best, 1) for part in (nodes, known))
    missing = ((0, 0), (0, width - best.shape[1]))
    return (
        np.pad(np.where(found < _NO_NODE, found, -1), missing, constant_values=-1),
        np.pad(similarities.astype(np.float32), missing, constant_values=-np.inf),
    )


def _largest(ranks: Floats, nodes: Ints, count: int) -> Ints:
    """``[Q, count]`` places of the largest ``ranks`` ``[Q, P]``, in order, ties broken by the lowest node."""
    if count == 1 and ranks.shape[1]:
        top = ranks == ranks.max(axis=1, keepdims=True)
        return np.where(top, nodes, _NO_NODE + 1).argmin(axis=1)[:, None]
    bits = ranks.view(np.int32).astype(np.int64)
    bits ^= (bits < 0) * np.int64(0x7FFFFFFF)  # as whole numbers they have the order of the ranks
    keys = ~((bits << 32) | (_NO_NODE - nodes))  # smallest first
    count = min(count, keys.shape[1])
    best = np.argpartition(keys, count - 1, axis=1)[:, :count]
    order = np.take_along_axis(keys, best, 1).argsort(axis=1)
    chosen: Ints = np.take_along_axis(best, order, 1)
    return chosen
