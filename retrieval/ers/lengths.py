"""Lengths of vectors: how far the longest of each leaf reaches, by which a query ranks leaves.

The tree clusters directions. Where all vectors have one length the leaf whose centroid is most similar to a
query holds the largest inner products. Where lengths differ it need not: what matters is the similarity times
the length of the leaf's longest vector, a bound of its inner products up to the leaf's width.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from retrieval.ers.hierarchy import Floats, Ints, SemanticHierarchy

Metric = Literal["ip", "cosine"]
METRICS: tuple[Metric, ...] = get_args(Metric)
DIFFERENT = 1.2
"""Ratio of the longest vectors of two leaves from which on they are told apart."""
WIDER = 4
"""Factor of the beam where lengths differ: neighbors are then spread over more leaves."""
_LEAST = 1e-6  # of the longest; less is as good as nothing


def unit(vectors: Floats) -> Floats:
    """Vectors ``[N, D]`` at unit length."""
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    return np.ascontiguousarray(vectors / lengths[:, None], dtype=np.float32)


def longest(vectors: Floats, leaves: Ints, count: int) -> Floats:
    """``[count]`` the length of the longest vector of each leaf, 0 for none.

    Args:
        vectors: ``[n, D]``.
        leaves: ``[n]`` the leaf of each.
        count: Number of leaves.
    """
    found = np.zeros(count, np.float32)
    np.maximum.at(found, leaves, np.sqrt(np.einsum("nd,nd->n", vectors, vectors)))
    return found


def differ(reach: Floats) -> bool:
    """Whether the leaves' longest vectors ``[M]`` (0: has none) differ by a factor of `DIFFERENT`."""
    there = reach[reach > 0]
    return bool(len(there) and there.max() >= DIFFERENT * there.min())


def by_reach(tree: SemanticHierarchy, reach: Floats) -> tuple[SemanticHierarchy, NDArray[np.float32]]:
    """A tree whose centroids are as long as the longest vector below them, the longest of all being 1.

    Args:
        tree: The hierarchy of directions.
        reach: ``[M]`` the length of the longest vector of each leaf.

    Returns:
        The tree, and the lengths ``[M]`` of its leaves.
    """
    lengths = [np.maximum(reach / reach.max(), _LEAST).astype(np.float32)]
    for level in range(tree.depth - 1, 0, -1):
        lengths.insert(0, np.maximum.reduceat(lengths[0], tree.first_child[level][:-1]))
    scaled = tuple(part * own[:, None] for part, own in zip(tree.centroids, lengths, strict=True))
    return SemanticHierarchy(scaled, tree.first_child), lengths[-1]
