"""The search of a batch in one compiled call: down the tree, over the codes, through the exact vectors.

Queries whose best leaves are neighbours stand together in the batch, and a leaf that several of them visit is
scanned for one after the other while its codes are near:

1. *Routing* (`routing`) of all queries, which are then ordered by their best leaf.
2. Of some queries at a time the *tables*, and a *scan* (`scan`) of each one's best leaves, which
   fill its list with scores that few of the other leaves' vectors reach.
3. A scan of the other leaves, leaf by leaf, each for all queries that visit it.
4. *Refining*: exact scores of the best by codes, fetched ahead; of equal scores the smaller id stands first.

No step's answer depends on which queries stand together, so that a batch answers as its queries alone do, bit
for bit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from compiling import cached_njit
from compiling.instructions import LINE
from retrieval.ers.kernels.routing import route
from retrieval.ers.kernels.scan import BIN, best_rows, fill_tables, scan_visits
from retrieval.ers.kernels.simd import BLOCK, NODES, TABLE_MAX
from retrieval.ers.kernels.sort_keys import float_of_key, number_of
from retrieval.ers.vectors import refine_one

ROUTED = 1024  # queries routed, and ordered, at a time
TOGETHER = 64  # queries scanned at a time: their lists and tables fit in a core's own memory
ALONE = 4  # best leaves scanned query by query
WIDEST_BIAS = np.float32(1 << 18)  # further off no table entries could make up for it, and a key holds it


@cached_njit()
def _visits(
    leaf_keys: NDArray[np.int64],
    kept: NDArray[np.int64],
    chosen: NDArray[np.int64],
    prior: NDArray[np.float32],
    units: NDArray[np.float32],
    first_leaf: int,
    ends: NDArray[np.int64],
    whose: NDArray[np.int64],
    leaves: NDArray[np.int64],
    biases: NDArray[np.int64],
) -> int:
    """What to scan, in this order: of each query the first `ALONE` leaves, then leaf by leaf for all queries.

    Args:
        leaf_keys: ``[Q, W]`` of `route`, a leaf's similarity being its rank without the prior.
        kept: ``[Q]`` how many of them.
        chosen: ``[G]`` the queries.
        prior: see `search`.
        units: ``[G]`` of the tables.
        first_leaf: its node's number.
        ends: ``[M + 1]`` to work in.
        whose: ``[G W]`` for the query of each visit, as its place in ``chosen``.
        leaves: ``[G W]`` for the leaf.
        biases: ``[G W]`` for the bias, see `retrieval.ers.kernels.scan.scan_visits`.

    Returns:
        How many.
    """
    ends[:] = 0
    for query in chosen:
        alone = min(ALONE, kept[query]) if len(chosen) > 1 else kept[query]
        ends[0] += alone
        for slot in range(alone, kept[query]):
            ends[number_of(leaf_keys[query, slot]) - first_leaf + 1] += 1
    total = 0
    for place in range(len(ends)):  # now where each leaf's begin
        total, ends[place] = total + ends[place], total
    for who in range(len(chosen)):
        query = chosen[who]
        best = leaf_keys[query, 0]
        origin = float_of_key(best) - prior[number_of(best) - 1]
        alone = min(ALONE, kept[query]) if len(chosen) > 1 else kept[query]
        for slot in range(kept[query]):
            node = number_of(leaf_keys[query, slot])
            leaf = node - first_leaf
            group = 0 if slot < alone else leaf + 1
            visit = ends[group]
            ends[group] += 1
            similarity = float_of_key(leaf_keys[query, slot]) - prior[node - 1]
            steps = np.round((similarity - origin) * units[who])
            whose[visit], leaves[visit] = who, leaf
            biases[visit] = np.int64(min(max(steps, -WIDEST_BIAS), WIDEST_BIAS))
    return total


@cached_njit()
def search(
    queries: NDArray[np.float32],
    k: int,
    wanted: int,
    widths: NDArray[np.int64],
    node_bytes: NDArray[np.int8],
    starts: NDArray[np.int32],
    blocks: NDArray[np.int64],
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
    """All of it; see `retrieval.ers.fast_search.FastPath.search`.

    Args:
        queries: ``[Q, D]``.
        k: how many.
        wanted: candidates to refine.
        widths: ``[L]`` nodes kept on each level.
        node_bytes: the nodes of all levels, see `retrieval.ers.kernels.routing.in_bytes`, as the next three.
        starts: of their products.
        blocks: where each node's children begin.
        unit: what 1 of a byte is.
        children: ``[N_inner + 2]``: children of node ``i`` (the root is 0) are numbers ``children[i]`` to
            ``children[i + 1]``, and node ``i`` is place ``i - 1`` of ``prior``.
        prior: ``[N + NODES]``, the last of no meaning.
        codebook: ``[parts, dimensions, 16]``.
        lists: ``[M, 3]``, see `retrieval.ers.inverted_lists.Leaves.lists`.
        place_bits: see `retrieval.ers.kernels.scan.scan_leaf`.
        allowed: bits of rows, empty for all.
        base: ``[n_base, D]`` exact vectors, or their bits.
        tail: ``[n_tail, D]``, the rows after those of ``base``.
        ids: ``[n]``.

    Returns:
        ``(ids [Q, k], scores [Q, k])``.
    """
    best = np.full((len(queries), k), -1, np.int64)
    scores = np.full((len(queries), k), -np.inf, np.float32)
    nodes = len(prior) - NODES
    routed, together = min(len(queries), ROUTED), min(len(queries), TOGETHER)
    found = np.empty(nodes + 1, np.int64)
    ranks = np.empty(nodes + BLOCK, np.float32)
    parents = np.empty(nodes + 1, np.int64)
    rounded = np.zeros(4 * node_bytes.shape[1], np.uint8)
    leaf_keys = np.empty((routed, widths[-1]), np.int64)
    kept = np.empty(routed, np.int64)
    best_leaf = np.empty(routed, np.int64)
    exact = np.empty((len(codebook), 16), np.float32)
    size = 16 * (len(codebook) + len(codebook) % 2)  # of an odd number the last has a partner of zeros
    room = np.zeros(together * size + LINE, np.uint8)
    skip = (-room.ctypes.data) % LINE
    tables = room[skip : skip + together * size].reshape(together, size)
    units = np.empty(together, np.float32)
    ends = np.empty(len(lists) + 1, np.int64)
    whose = np.empty(together * widths[-1], np.int64)
    leaves = np.empty(together * widths[-1], np.int64)
    biases = np.empty(together * widths[-1], np.int64)
    state = np.empty((together, 3), np.int64)
    counts = np.empty((together, (TABLE_MAX * len(codebook) >> BIN) + 1), np.int32)
    keys = np.empty((together, 8 * wanted + 2 * BLOCK), np.int64)
    sums = np.empty(BLOCK, np.uint16)
    for start in range(0, len(queries), ROUTED):
        some = queries[start : start + ROUTED]
        for number in range(len(some)):
            query = some[number]
            kept[number] = route(
                query, node_bytes, starts, blocks, unit, children, prior, widths,
                found, rounded, ranks, parents,
            )  # fmt: skip
            leaf_keys[number, : kept[number]] = found[: kept[number]]
            best_leaf[number] = number_of(found[0])
        order = np.argsort(best_leaf[: len(some)])
        for at in range(0, len(some), TOGETHER):
            chosen = order[at : at + TOGETHER]
            state[:] = 0
            counts[:] = 0
            for who in range(len(chosen)):
                units[who] = fill_tables(some[chosen[who]], codebook, exact, tables[who])
            visits = _visits(
                leaf_keys, kept, chosen, prior, units, nodes - len(lists) + 1, ends, whose, leaves, biases
            )
            scan_visits(
                whose, leaves, biases, visits, lists, place_bits, tables.ctypes.data, size, allowed, wanted,
                state, counts, keys, sums,
            )  # fmt: skip
            for who in range(len(chosen)):
                number = chosen[who]
                row = start + number
                count = best_rows(wanted, lists, place_bits, state[who], keys[who])
                refine_one(some[number], keys[who, :count], base, tail, ids, best[row], scores[row])
    return best, scores
