"""The arrays of the compiled search by name, and the memory that it works in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class TreeArrays(NamedTuple):
    """The nodes of all levels, the children of each node side by side in blocks of `simd.NODES`.

    Nodes are numbered through all levels, the root being 0.

    Attributes:
        nodes: ``[B, D' / 4, NODES, 4]`` offsets of the centroids from their mean in bytes, gaps being zeros.
        starts: ``[B, NODES]`` what the sums of products start with.
        blocks: ``[N_inner + 1]`` the first block of each node's children.
        children: ``[N_inner + 2]``; the children of node ``i`` are ``children[i]`` to ``children[i + 1]``.
        unit: What 1 of a byte stands for.
    """

    nodes: NDArray[np.int8]
    starts: NDArray[np.int32]
    blocks: NDArray[np.int64]
    children: NDArray[np.int64]
    unit: float


class IndexArrays(NamedTuple):
    """Arrays of an index that the compiled search reads besides its tree.

    Attributes:
        prior: ``[N + NODES]`` added to a node's similarity; node ``i`` has place ``i - 1``, the last places
            have no meaning.
        codebook: ``[parts, dimensions, 16]`` of the product codes.
        lists: ``[M, 3]``, see `retrieval.ers.inverted_lists.Leaves.lists`.
        place_bits: Bits that hold every place in a leaf.
        base: ``[n_base, D]`` exact vectors, or the bits of half precision.
        tail: ``[n_tail, D]`` the rows that follow those of ``base``.
        on_disk: Whether rows of ``base`` are likely to have to be read from a disk.
        ids: ``[n]`` the id of every row.
    """

    prior: NDArray[np.float32]
    codebook: NDArray[np.float32]
    lists: NDArray[np.int64]
    place_bits: int
    base: NDArray
    tail: NDArray
    on_disk: bool
    ids: NDArray[np.int64]


class RoutingSpace(NamedTuple):
    """Memory for the routing of one query.

    Attributes:
        keys: ``[N + 1]`` for the best nodes of a level, and in the end of the leaves.
        rounded: ``[D']`` for the query in bytes.
        ranks: ``[N + BLOCK]`` for the scores of a level.
        parents: ``[N + 1]`` for the nodes that are kept.
    """

    keys: NDArray[np.int64]
    rounded: NDArray[np.uint8]
    ranks: NDArray[np.float32]
    parents: NDArray[np.int64]


class Routed(NamedTuple):
    """Leaves that ``Q`` queries visit.

    Attributes:
        keys: ``[Q, W]`` of `routing.route`: a leaf's number and rank.
        counts: ``[Q]`` how many leaves each query visits.
        best: ``[Q]`` the best leaf of each.
    """

    keys: NDArray[np.int64]
    counts: NDArray[np.int64]
    best: NDArray[np.int64]


class Visits(NamedTuple):
    """Visits of ``G`` queries to their leaves in the order of the scan, ``V`` at most.

    Attributes:
        queries: ``[V]`` the query of each visit, as its place in the group.
        leaves: ``[V]`` the leaf of each visit.
        biases: ``[V]`` the leaf's similarity to the query, in units of table entries.
        ends: ``[M + 1]`` where the visits of each leaf end, to work with.
    """

    queries: NDArray[np.int64]
    leaves: NDArray[np.int64]
    biases: NDArray[np.int64]
    ends: NDArray[np.int64]


class Met(NamedTuple):
    """The best rows that ``G`` queries have met.

    Attributes:
        keys: ``[G, room]`` scores and places of the rows.
        held: ``[G]`` how many keys there are.
        counts: ``[G, bins]`` how many scores each bin has met.
        above: ``[G]`` scores in the least bin that still matters, or above it.
        least_bin: ``[G]`` that bin: rows below are not among the best.
        sums: ``[BLOCK]`` for the sums of a block of codes.
    """

    keys: NDArray[np.int64]
    held: NDArray[np.int64]
    counts: NDArray[np.int32]
    above: NDArray[np.int64]
    least_bin: NDArray[np.int64]
    sums: NDArray[np.uint16]
