"""Down the tree to a query's leaves, in compiled code.

On each level the nodes of highest ``sim(q, μ) + prior`` among the children of those kept above. Centroids are
kept in half precision: their error, 1e-4, is far below that of the codes, and half as much memory is read.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from retrieval.keys import float_key, keep_largest, number_of, sort_down
from retrieval.simd import from_half

_FAST = {"reassoc", "contract", "nsz", "nnan"}
SORTED = 16  # leaves put in order: the first ones set the mark that later vectors must pass


@numba.njit(cache=True, nogil=True, fastmath=_FAST)
def _products(
    query: NDArray[np.float32], rows: NDArray[np.uint16], first: int, last: int, out: NDArray[np.float32]
) -> None:
    """Products with the rows ``first`` to ``last`` of half precision, two at a time."""
    at = first
    while at < last:
        one, two = np.float32(0), np.float32(0)
        row, other = rows[at], rows[min(at + 1, last - 1)]
        for column in range(len(query)):
            one += query[column] * from_half(row[column])
            two += query[column] * from_half(other[column])
        out[at - first] = one
        out[min(at + 1, last - 1) - first] = two if at + 1 < last else one
        at += 2


@numba.njit(cache=True, nogil=True)
def route(
    query: NDArray[np.float32],
    centroids: NDArray[np.uint16],
    children: NDArray[np.int64],
    prior: NDArray[np.float32],
    widths: NDArray[np.int64],
    keys: NDArray[np.int64],
    similarities: NDArray[np.float32],
    parents: NDArray[np.int64],
) -> int:
    """Leaves the keys of the best leaves in ``keys``, the first `SORTED` in order; returns how many."""
    parents[0] = 0
    kept = 1
    for level in range(len(widths)):
        found = 0
        for slot in range(kept):
            first, last = children[parents[slot]], children[parents[slot] + 1]
            _products(query, centroids, first - 1, last - 1, similarities)
            for node in range(first, last):
                keys[found] = float_key(similarities[node - first] + prior[node - 1], node)
                found += 1
        kept = min(found, widths[level])
        if found > kept:
            keep_largest(keys, found, kept)
        for slot in range(kept):
            parents[slot] = number_of(keys[slot])
    # The best leaves fill the list of candidates with scores that few of the others' vectors reach.
    first = min(kept, SORTED)
    keep_largest(keys, kept, first)
    sort_down(keys, first)
    return kept
