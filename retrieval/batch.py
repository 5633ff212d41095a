"""The search of a batch in one compiled call: down the tree, over the codes, through the exact vectors.

Queries that go to the same leaf stand together in the batch (`_together`), and a leaf that several of them
visit is scanned for one after the other while its codes are near:

1. *Routing* (`retrieval.routing`) of all queries, which are then ordered by their best leaf.
2. Of some queries at a time the *tables*, and a *scan* (`retrieval.scan`) of each one's best leaves, which
   fill its list with scores that few of the other leaves' vectors reach.
3. A scan of the other leaves, leaf by leaf, each for all queries that visit it.
4. *Refining*: exact scores of the best by codes, fetched ahead; of equal scores the smaller id stands first.

No step's answer depends on which queries stand together, so that a batch answers as its queries alone do, bit
for bit.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from retrieval.keys import float_of_key, number_of
from retrieval.routing import BINS, route
from retrieval.scan import BIN, best_rows, fill_tables, scan_leaf
from retrieval.simd import BLOCK, LINE, TABLE_MAX, prefetch_lines
from retrieval.vectors import refine_one

ROUTED = 1024  # queries routed, and ordered, at a time
TOGETHER = 64  # queries scanned at a time: their lists and tables fit in a core's own memory
ALONE = 4  # best leaves scanned query by query
NEXT = 512  # bytes of the next leaf's codes fetched beforehand: the processor sees what follows
WIDEST_BIAS = np.float32(1 << 18)  # further off no table entries could make up for it, and a key holds it


@numba.njit(cache=True, nogil=True)
def _visit(
    key: int,
    origin: np.float32,
    unit: np.float32,
    prior: NDArray[np.float32],
    lists: NDArray[np.int64],
    place_bits: int,
    tables: int,
    size: int,
    allowed: NDArray[np.uint8],
    wanted: int,
    who: int,
    state: NDArray[np.int64],
    counts: NDArray[np.int32],
    keys: NDArray[np.int64],
    sums: NDArray[np.uint16],
) -> None:
    """Scans the leaf that a key of `route` names; its similarity is the key's rank without the prior."""
    node = number_of(key)
    steps = np.round((float_of_key(key) - prior[node - 1] - origin) * unit)
    bias: Any = np.int64(min(max(steps, -WIDEST_BIAS), WIDEST_BIAS))
    leaf = node + len(lists) - len(prior) - 1  # the numbers of leaves are the last ones
    scan_leaf(lists, leaf, place_bits, bias, tables, size, allowed, wanted, who, state, counts, keys, sums)


@numba.njit(cache=True, nogil=True)
def _by_leaf(
    leaf_keys: NDArray[np.int64], kept: NDArray[np.int64], chosen: NDArray[np.int64], nodes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pairs of a query and one of its leaves beyond the first `ALONE`, in the order of the leaves.

    Returns:
        Each pair's query, as its place in ``chosen``, and its key.
    """
    starts = np.zeros(nodes + 2, np.int64)
    for query in chosen:
        for slot in range(ALONE, kept[query]):
            starts[number_of(leaf_keys[query, slot]) + 1] += 1
    for node in range(nodes + 1):
        starts[node + 1] += starts[node]
    whose = np.empty(starts[nodes + 1], np.int64)
    keys = np.empty(starts[nodes + 1], np.int64)
    for who in range(len(chosen)):
        for slot in range(ALONE, kept[chosen[who]]):
            key = leaf_keys[chosen[who], slot]
            node = number_of(key)
            whose[starts[node]], keys[starts[node]] = who, key
            starts[node] += 1
    return whose, keys


@numba.njit(cache=True, nogil=True)
def search(
    queries: NDArray[np.float32],
    k: int,
    wanted: int,
    widths: NDArray[np.int64],
    centroids: NDArray[np.int16],
    unit: float,
    children: NDArray[np.int64],
    prior: NDArray[np.float32],
    codebook: NDArray[np.float32],
    lists: NDArray[np.int64],
    place_bits: int,
    allowed: NDArray[np.uint8],
    base: NDArray,
    tail: NDArray,
    ids: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """All of it; see `retrieval.fast_path.FastPath.search`.

    Args:
        queries: ``[Q, D]``.
        k: how many.
        wanted: candidates to refine.
        widths: ``[L]`` nodes kept on each level.
        centroids: ``[N, D']`` of all levels' nodes in order, see `retrieval.routing.rounded`.
        unit: what 1 of them is.
        children: ``[N_inner + 2]``: children of node ``i`` (the root is 0) are numbers ``children[i]`` to
            ``children[i + 1]``, and node ``i`` is row ``i - 1`` of ``centroids`` and ``prior``.
        prior: ``[N]``.
        codebook: ``[parts, dimensions, 16]``.
        lists: ``[M, 3]``, see `retrieval.leaves.Leaves.lists`.
        place_bits: see `retrieval.scan.scan_leaf`.
        allowed: bits of rows, empty for all.
        base: ``[n_base, D]`` exact vectors, or their bits.
        tail: ``[n_tail, D]``, the rows after those of ``base``.
        ids: ``[n]``.

    Returns:
        ``(ids [Q, k], scores [Q, k])``.
    """
    best = np.full((len(queries), k), -1, np.int64)
    scores = np.full((len(queries), k), -np.inf, np.float32)
    nodes = len(prior)
    routed, together = min(len(queries), ROUTED), min(len(queries), TOGETHER)
    found = np.empty(nodes + 1, np.int64)
    ranks = np.empty(nodes + 1, np.float32)
    bins = np.empty(BINS, np.int64)
    parents = np.empty(nodes + 1, np.int64)
    shorts = np.zeros(centroids.shape[1], np.int16)
    leaf_keys = np.empty((routed, widths[-1]), np.int64)
    kept = np.empty(routed, np.int64)
    best_leaf = np.empty(routed, np.int64)
    exact = np.empty((len(codebook), 16), np.float32)
    size = 16 * (len(codebook) + len(codebook) % 2)  # of an odd number the last has a partner of zeros
    room = np.zeros(together * size + LINE, np.uint8)
    skip = (-room.ctypes.data) % LINE
    tables = room[skip : skip + together * size].reshape(together, size)
    at_tables = tables.ctypes.data
    units = np.empty(together, np.float32)
    origins = np.empty(together, np.float32)
    state = np.empty((together, 3), np.int64)
    counts = np.empty((together, (TABLE_MAX * len(codebook) >> BIN) + 1), np.int32)
    keys = np.empty((together, 8 * wanted + 2 * BLOCK), np.int64)
    sums = np.empty(BLOCK, np.uint16)
    for start in range(0, len(queries), ROUTED):
        some = queries[start : start + ROUTED]
        for number in range(len(some)):
            query = some[number]
            kept[number] = route(
                query, centroids, unit, children, prior, widths, found, shorts, ranks, bins, parents
            )
            leaf_keys[number, : kept[number]] = found[: kept[number]]
            best_leaf[number] = number_of(found[0])
        order = np.argsort(best_leaf[: len(some)])
        for at in range(0, len(some), TOGETHER):
            chosen = order[at : at + TOGETHER]
            state[:] = 0
            counts[:] = 0
            for who in range(len(chosen)):
                number = chosen[who]
                units[who] = fill_tables(some[number], codebook, exact, tables[who])
                origins[who] = float_of_key(leaf_keys[number, 0]) - prior[best_leaf[number] - 1]
                alone = kept[number] if len(chosen) == 1 else min(ALONE, kept[number])
                for slot in range(alone):
                    if slot + 1 < alone:
                        after = number_of(leaf_keys[number, slot + 1]) + len(lists) - nodes - 1
                        prefetch_lines(lists[after, 0], NEXT)
                    _visit(
                        leaf_keys[number, slot], origins[who], units[who], prior, lists, place_bits,
                        at_tables + who * size, size, allowed, wanted, who, state, counts, keys, sums,
                    )  # fmt: skip
            if len(chosen) > 1:
                whose, pair_keys = _by_leaf(leaf_keys, kept, chosen, nodes)
                for pair in range(len(whose)):
                    who = whose[pair]
                    _visit(
                        pair_keys[pair], origins[who], units[who], prior, lists, place_bits,
                        at_tables + who * size, size, allowed, wanted, who, state, counts, keys, sums,
                    )  # fmt: skip
            for who in range(len(chosen)):
                number = chosen[who]
                row = start + number
                count = best_rows(wanted, lists, place_bits, state[who], keys[who])
                refine_one(some[number], keys[who, :count], base, tail, ids, best[row], scores[row])
    return best, scores
