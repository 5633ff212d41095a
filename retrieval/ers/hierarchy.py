"""A tree of centroids over unit directions: where a query goes down instead of looking at every vector.

Every level splits each node's share of a sample by spherical k-means (faiss). **Balance**: a node gets its
number of children by its share of the sample (D'Hondt's highest averages: the node whose children would be
largest is split once more), so that leaves come out even although clusters are not. A capacity limit would
even them out further, but by sending vectors to a leaf that is not their nearest, where the descent, which
follows similarity, does not look for them. **Copies** of one direction count once: k-means would give them
many centroids in one place, all but the first of which stay empty, and a beam would be spent on those.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval.validation import whole

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

SAMPLE_PER_LEAF = (
    64  # vectors of the sample for each leaf: the centroid's error is then an eighth of the spread
)
DEEPEST = 32  # levels of two branches each: no tree has so many leaves


def leaves_for(count: int) -> int:
    """Number of leaves for ``count`` vectors: ``4·sqrt(count)`` (4,000 for a million), of 8 or more vectors.

    Comparing with the centroids and scanning the leaves cost the same order at a multiple of the square root.
    """
    return max(1, min(round(4 * math.sqrt(count)), count // 8))


@dataclass(frozen=True)
class SemanticHierarchy:
    """Nodes level by level, the children of a node standing side by side.

    Attributes:
        centroids: Per level ``[M_l, D]`` float32, of unit length; the last level's nodes are the leaves.
        first_child: Per level ``[M_{l-1} + 1]`` int64 (``M_{-1} = 1``, the root): the children of node ``i``
            of the level above are the rows ``first_child[l][i]`` to ``first_child[l][i + 1]`` of level ``l``.
    """

    centroids: tuple[Floats, ...]
    first_child: tuple[Ints, ...]

    @property
    def depth(self) -> int:
        """Levels below the root."""
        return len(self.centroids)

    @property
    def leaf_count(self) -> int:
        """Nodes of the last level."""
        return len(self.centroids[-1])

    @property
    def width(self) -> int:
        """D."""
        return int(self.centroids[0].shape[1])

    def parents(self, level: int) -> Ints:
        """``[M_l]``: each node's parent on the level above (0, the root, for level 0)."""
        bounds = self.first_child[level]
        return np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))

    def path(self, leaf: int) -> list[int]:
        """The nodes from the first level down to a leaf, one a level."""
        node, path = int(leaf), [int(leaf)]
        for level in range(self.depth - 1, 0, -1):
            node = int(np.searchsorted(self.first_child[level], node, side="right")) - 1
            path.append(node)
        return path[::-1]

    @classmethod
    def train(
        cls, sample: Floats, leaves: int, *, depth: int = 2, iterations: int = 10, seed: int = 0
    ) -> SemanticHierarchy:
        """Builds the tree from a sample that fits in memory.

        Args:
            sample: ``[S, D]`` finite, non-zero; only directions count, and equal ones once.
            leaves: Nodes of the last level, at most S; as many as there are distinct directions if these are
                fewer.
            depth: Levels, at most 32; the number of nodes grows by the same factor on each.
            iterations: Of k-means.
            seed: Of k-means' first centroids.

        Raises:
            ValueError: If there are fewer vectors than leaves, or a number is below 1.
        """
        depth, leaves = whole("depth", depth, most=DEEPEST), whole("leaves", leaves)
        iterations = whole("iterations", iterations)
        if len(sample) < leaves:
            raise ValueError(f"{len(sample)} vectors for {leaves} leaves: expected at least one a leaf")
        sample = distinct(sample / np.linalg.norm(sample, axis=1, keepdims=True))
        leaves = min(leaves, len(sample))
        cells = [np.arange(len(sample))]
        centroids: list[Floats] = []
        first_child: list[Ints] = []
        for level in range(1, depth + 1):
            wanted = leaves if level == depth else max(len(cells), round(leaves ** (level / depth)))
            shares = _shares([len(cell) for cell in cells], wanted)
            below: list[Ints] = []
            nodes: list[Floats] = []
            for cell, share in zip(cells, shares, strict=True):
                members = sample if len(cells) == 1 else sample[cell]  # a large one stands there once
                means, assigned = cluster(members, share, iterations, seed + level)
                nodes.append(means)
                below.extend(cell[assigned == child] for child in range(share))
            cells = below
            centroids.append(np.concatenate(nodes))
            first_child.append(np.concatenate([[0], np.cumsum(shares)]).astype(np.int64))
        return cls(tuple(centroids), tuple(first_child))

    @classmethod
    def over(
        cls, leaves: Floats, depth: int, *, iterations: int = 10, seed: int = 0
    ) -> tuple[SemanticHierarchy, Ints]:
        """A tree over leaves that are given, each level being clusters of the one below.

        Args:
            leaves: ``[M, D]`` unit vectors, at least one.
            depth: Levels; the number of nodes grows by about the same factor on each.
            iterations: Of k-means.
            seed: Of k-means' first centroids.

        Returns:
            The tree, and the order ``[M]`` in which its last level has the leaves.
        """
        levels = [leaves]
        parents: list[Ints] = []
        for level in range(depth - 1, 0, -1):
            below = levels[0]
            wanted = min(len(below), max(1, round(len(leaves) ** (level / depth))))
            means, assigned = cluster(below, wanted, iterations, seed + level)
            used, assigned = np.unique(assigned, return_inverse=True)
            levels.insert(0, means[used])
            parents.insert(0, assigned)
        order = np.arange(len(levels[0]))
        centroids, first_child = [levels[0]], [np.array([0, len(order)])]
        for level, parent in enumerate(parents, start=1):
            rank = np.empty(len(order), np.int64)  # of each node above, in its level's order
            rank[order] = np.arange(len(order))
            order = np.argsort(rank[parent], kind="stable")
            centroids.append(levels[level][order])
            first_child.append(np.concatenate([[0], np.cumsum(np.bincount(rank[parent]))]).astype(np.int64))
        return cls(tuple(centroids), tuple(first_child)), order


def distinct(vectors: Floats) -> Floats:
    """The vectors ``[N, D]`` without repetitions, in the order in which each comes first."""
    bits = np.ascontiguousarray(vectors + np.float32(0)).view(np.uint32)  # -0 is 0
    weights = np.random.default_rng(0).integers(1, 2**64, bits.shape[1], np.uint64)
    sums = [part.astype(np.uint64) @ weights for part in np.array_split(bits, 1 + len(bits) // 1024)]
    # Sums of different vectors are equal with a chance of about 2^-64.
    _, first = np.unique(np.concatenate(sums), return_index=True)
    return vectors if len(first) == len(vectors) else vectors[np.sort(first)]


def _shares(sizes: list[int], total: int) -> list[int]:
    """Children for each node: one each, then one more where a child would hold most (D'Hondt)."""
    shares = [1] * len(sizes)
    heap = [(-size / 2, node) for node, size in enumerate(sizes)]
    heapq.heapify(heap)
    for _ in range(total - len(sizes)):
        _, node = heapq.heappop(heap)
        shares[node] += 1
        heapq.heappush(heap, (-sizes[node] / (shares[node] + 1), node))
    return shares


def cluster(vectors: Floats, parts: int, iterations: int = 10, seed: int = 0) -> tuple[Floats, Ints]:
    """Spherical k-means of unit vectors ``[n, D]``.

    Returns:
        Centroids ``[parts, D]`` of unit length, and the part ``[n]`` of each vector.
    """
    if len(vectors) < parts:  # a cell that the sample hardly reached: its vectors, the first one repeated
        vectors = np.resize(vectors, (parts, vectors.shape[1])) if len(vectors) else vectors
        if not len(vectors):
            return np.zeros((parts, vectors.shape[1]), np.float32), np.empty(0, np.int64)
    means = faiss.Kmeans(
        vectors.shape[1],
        parts,
        niter=iterations,
        spherical=True,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=len(vectors),
    )
    means.train(np.ascontiguousarray(vectors))
    _, assigned = means.index.search(np.ascontiguousarray(vectors), 1)
    return np.asarray(means.centroids, dtype=np.float32), assigned[:, 0]
