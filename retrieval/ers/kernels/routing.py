"""Compiled routing down the tree to a query's leaves, by products of bytes.

On each level the nodes of highest ``sim(q, μ) + prior`` among the children of those kept above. What
centroids differ by from their mean, and the query, are rounded to 8 bits a column: their products are off by
about 1e-3, a tenth of what the codes are, and a quarter as much memory is read as in single precision.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiling import cached_njit
from compiling.instructions import STEP
from retrieval.ers.hierarchy import Floats, Ints
from retrieval.ers.kernels.arrays import RoutingSpace, TreeArrays
from retrieval.ers.kernels.simd import BLOCK, NODES, at_least, ones, rank_nodes, trailing_zeros
from retrieval.ers.kernels.sort_keys import float_key, keep_largest, number_of, sort_down

SORTED = 16  # leaves put in order: the first ones set the mark that later vectors must pass
HALVINGS = 24  # single precision tells no more apart
_MOST = 127  # of a byte with a sign
_ZERO = 128  # what stands for 0 in the query's bytes, which have no sign


def in_bytes(centroids: Floats, children: Ints) -> TreeArrays:
    """The nodes as `route` reads them: siblings side by side in blocks of `NODES`, gaps filled with zeros.

    Similarities come out less that with the mean of the centroids, which ranks nodes alike.

    Args:
        centroids: ``[N, D]`` of all levels' nodes in order.
        children: See `TreeArrays`.
    """
    parts = np.diff(children)
    blocks = np.concatenate([[0], np.cumsum(-(-parts // NODES))])
    offsets = centroids - centroids.mean(axis=0)
    unit = max(float(np.abs(offsets).max()), 1e-30) / _MOST
    width = -(-centroids.shape[1] // STEP) * STEP
    laid = np.zeros((NODES * blocks[-1], width), np.int8)
    place = np.arange(len(centroids)) + np.repeat(NODES * blocks[:-1] - (children[:-1] - 1), parts)
    laid[place, : centroids.shape[1]] = np.rint(offsets / unit)
    starts = -_ZERO * laid.sum(axis=1, dtype=np.int32)
    grouped = laid.reshape(-1, NODES, width // 4, 4).transpose(0, 2, 1, 3)
    return TreeArrays(
        np.ascontiguousarray(grouped), starts.reshape(-1, NODES), blocks.astype(np.int64), children, unit
    )


@cached_njit(fastmath={"nnan", "nsz"})
def _round(query: NDArray[np.float32], result: NDArray[np.uint8]) -> float:
    """The query in bytes, in front of what is there already; returns what 1 is."""
    most = np.float32(0)
    for value in query:
        most = max(most, abs(value))
    scale = _MOST / np.float64(most)  # of the smallest numbers single precision has no inverse
    for column in range(len(query)):
        result[column] = np.uint8(np.int32(np.floor(query[column] * scale + 0.5)) + _ZERO)
    return float(most) / _MOST


@cached_njit(fastmath={"nnan", "nsz"})
def _mark(ranks: NDArray[np.float32], count: int, wanted: int) -> np.float32:
    """A mark that at least ``wanted`` of ``ranks[:count]`` reach, and seldom more: by halving.

    Counting those above a mark takes an instruction for many, so that this is far cheaper than selecting.
    """
    low = high = ranks[0]
    for slot in range(count):
        low, high = min(low, ranks[slot]), max(high, ranks[slot])
    at = ranks.ctypes.data
    for _ in range(HALVINGS):
        mark = np.float32(0.5) * (low + high)
        reached = 0
        for block in range((count + BLOCK - 1) // BLOCK):
            reached += ones(at_least(at + 4 * BLOCK * block, mark))
        if reached >= wanted:
            low = mark
            if reached == wanted:
                break
        else:
            high = mark
    return low


@cached_njit()
def _keep_best(
    ranks: NDArray[np.float32],
    count: int,
    wanted: int,
    parents: NDArray[np.int64],
    children: NDArray[np.int64],
    keys: NDArray[np.int64],
) -> None:
    """Puts the keys of the ``wanted`` highest ``ranks``, which are of the parents' children, in front."""
    ranks[count : count + BLOCK] = -np.inf  # the last block has gaps
    mark = _mark(ranks, count, wanted) if wanted < count else np.float32(-np.inf)
    at, found, which = ranks.ctypes.data, 0, 0
    offset = children[parents[0]]  # of a child's number from its place
    end = children[parents[0] + 1] - offset
    for first in range(0, count, BLOCK):
        mask: Any = at_least(at + 4 * first, mark)
        if count - first < BLOCK:
            mask &= np.uint32((1 << (count - first)) - 1)
        while mask != 0:
            place = first + trailing_zeros(mask)
            mask &= mask - np.uint32(1)
            while place >= end:
                which += 1
                offset = children[parents[which]] - end
                end = children[parents[which] + 1] - offset
            keys[found] = float_key(ranks[place], place + offset)
            found += 1
    if found > wanted:
        keep_largest(keys, found, wanted)


@cached_njit()
def route(
    query: NDArray[np.float32],
    tree: TreeArrays,
    prior: NDArray[np.float32],
    widths: NDArray[np.int64],
    space: RoutingSpace,
) -> int:
    """Leaves the keys of the best leaves in ``space.keys``, the first `SORTED` in order; returns how many.

    Args:
        query: ``[D]``.
        tree: The nodes.
        prior: See `IndexArrays`.
        widths: ``[L]`` nodes kept on each level.
        space: Memory to work in.
    """
    children, keys, parents = tree.children, space.keys, space.parents
    step = np.float32(tree.unit * _round(query, space.rounded))
    size = len(space.rounded)
    at_query, at_nodes, at_starts = space.rounded.ctypes.data, tree.nodes.ctypes.data, tree.starts.ctypes.data
    at_prior, at_ranks = prior.ctypes.data, space.ranks.ctypes.data
    parents[0] = 0
    kept = 1
    for level in range(len(widths)):
        found = 0
        for slot in range(kept):
            first, last = children[parents[slot]], children[parents[slot] + 1]
            block = tree.blocks[parents[slot]]
            for node in range(first, last, NODES):
                rank_nodes(
                    at_query, at_nodes + NODES * size * block, size, at_starts + 4 * NODES * block, step,
                    at_prior + 4 * (node - 1), at_ranks + 4 * (found + node - first),
                )  # fmt: skip
                block += 1
            found += last - first
        kept = min(found, widths[level])
        _keep_best(space.ranks, found, kept, parents, children, keys)
        for slot in range(kept):
            parents[slot] = number_of(keys[slot])
    # The best leaves fill the list of candidates with scores that few of the others' vectors reach.
    first = min(kept, SORTED)
    keep_largest(keys, kept, first)
    sort_down(keys, first)
    return kept
