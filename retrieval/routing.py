"""Down the tree to a query's leaves, in compiled code: by products of whole numbers.

On each level the nodes of highest ``sim(q, μ) + prior`` among the children of those kept above. Directions
are rounded to 16 bits a column: their products are off by 1e-5, far less than those of the codes, and half as
much memory is read as in single precision.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from retrieval.hierarchy import Floats
from retrieval.keys import float_key, keep_largest, number_of, sort_down
from retrieval.simd import SHORTS, short_products

SORTED = 16  # leaves put in order: the first ones set the mark that later vectors must pass
BINS = 256  # of ranks
LENGTH = 32_767.0
"""Of rounded vectors: no product of two, nor any part of its sum, leaves 32 bits."""


def rounded(vectors: Floats) -> tuple[NDArray[np.int16], float]:
    """Vectors ``[N, D]`` in whole numbers ``[N, D']``, padded with zeros; and what 1 of them is."""
    longest = max(float(np.linalg.norm(vectors, axis=1).max()), 1e-30)
    columns = -(-vectors.shape[1] // SHORTS) * SHORTS
    result = np.zeros((len(vectors), columns), np.int16)
    result[:, : vectors.shape[1]] = np.rint(vectors * (LENGTH / longest))
    return result, longest / LENGTH


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _round(query: NDArray[np.float32], result: NDArray[np.int16]) -> float:
    """As `rounded` for one query, into what has zeros behind it; returns what 1 is."""
    square = 0.0
    for value in query:
        square += np.float64(value) * np.float64(value)
    scale = LENGTH / np.sqrt(square)
    for column in range(len(query)):
        result[column] = np.int16(np.floor(query[column] * scale + 0.5))
    return 1 / scale


@numba.njit(cache=True, nogil=True, fastmath={"nnan", "nsz"})
def _keep_best(
    ranks: NDArray[np.float32],
    keys: NDArray[np.int64],
    count: int,
    wanted: int,
    bins: NDArray[np.int64],
) -> None:
    """Turns the nodes in ``keys[:count]`` into keys, those of the ``wanted`` highest ranks in front.

    Bins of equal width leave few but these to select from: selecting among all would cost as much as their
    products.
    """
    least = most = ranks[0]
    for slot in range(count):
        least, most = min(least, ranks[slot]), max(most, ranks[slot])
    scale = np.float32(len(bins) - 1) / max(most - least, np.float32(1e-30))
    bins[:] = 0
    for slot in range(count):
        bins[np.int32((ranks[slot] - least) * scale)] += 1
    last, above = len(bins), 0
    while above < wanted:
        last -= 1
        above += bins[last]
    found: Any = 0
    for slot in range(count):
        rank, node = ranks[slot], keys[slot]
        keys[found] = float_key(rank, node)
        found += np.int32((rank - least) * scale) >= last
    keep_largest(keys, found, wanted)


@numba.njit(cache=True, nogil=True)
def route(
    query: NDArray[np.float32],
    centroids: NDArray[np.int16],
    unit: float,
    children: NDArray[np.int64],
    prior: NDArray[np.float32],
    widths: NDArray[np.int64],
    keys: NDArray[np.int64],
    shorts: NDArray[np.int16],
    ranks: NDArray[np.float32],
    bins: NDArray[np.int64],
    parents: NDArray[np.int64],
) -> int:
    """Leaves the keys of the best leaves in ``keys``, the first `SORTED` in order; returns how many.

    Args:
        query: ``[D]``.
        centroids: ``[N, D']`` of all levels' nodes in order, see `rounded`.
        unit: what 1 of them is.
        children: see `retrieval.batch.search`.
        prior: ``[N]``.
        widths: ``[L]`` nodes kept on each level.
        keys: ``[N + 1]`` for the result.
        shorts: ``[D']`` zeros to work in.
        ranks: ``[N + 1]`` to work in.
        bins: ``[BINS]`` to work in.
        parents: ``[N + 1]`` to work in.
    """
    unit *= _round(query, shorts)
    size = 2 * len(shorts)
    at, at_query = centroids.ctypes.data, shorts.ctypes.data
    parents[0] = 0
    kept = 1
    for level in range(len(widths)):
        found = 0
        for slot in range(kept):
            first, last = children[parents[slot]], children[parents[slot] + 1]
            for node in range(first, last, 2):
                other = min(node + 1, last - 1)
                row = at + (node - 1) * size
                one, two = short_products(at_query, row, at + (other - 1) * size, size)
                ranks[found] = one * unit + prior[node - 1]
                ranks[found + 1] = two * unit + prior[other - 1]
                keys[found], keys[found + 1] = node, other
                found += 1 + (other > node)
        kept = min(found, widths[level])
        _keep_best(ranks, keys, found, kept, bins)
        for slot in range(kept):
            parents[slot] = number_of(keys[slot])
    # The best leaves fill the list of candidates with scores that few of the others' vectors reach.
    first = min(kept, SORTED)
    keep_largest(keys, kept, first)
    sort_down(keys, first)
    return kept
