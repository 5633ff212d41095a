"""Compiled search of a batch in one call: down the tree, over the codes, through the exact vectors.

Queries whose best leaves are neighbors stand together in the batch, and a leaf that several of them visit is
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

from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiling import cached_njit
from compiling.instructions import LINE
from retrieval.ers.kernels.arrays import IndexArrays, Met, Routed, RoutingSpace, TreeArrays, Visits
from retrieval.ers.kernels.refine import refine_one
from retrieval.ers.kernels.routing import route
from retrieval.ers.kernels.scan import BIN, best_rows, fill_tables, scan_visits
from retrieval.ers.kernels.simd import BLOCK, NODES, TABLE_MAX
from retrieval.ers.kernels.sort_keys import float_of_key, number_of

ROUTED = 1024  # queries routed, and ordered, at a time
TOGETHER = 64  # queries scanned at a time: their lists and tables fit in a core's own memory
ALONE = 4  # best leaves scanned query by query
WIDEST_BIAS = np.float32(1 << 18)  # further off no table entries could make up for it, and a key holds it


@cached_njit()
def search(
    queries: NDArray[np.float32],
    k: int,
    wanted: int,
    widths: NDArray[np.int64],
    tree: tuple[Any, ...],
    index: tuple[Any, ...],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Descent, scan and refining; see `retrieval.ers.fast_search.FastSearch.search`.

    Args:
        queries: ``[Q, D]``.
        k: Results per query.
        wanted: Candidates to refine per query.
        widths: ``[L]`` nodes kept on each level.
        tree: A `TreeArrays` as a plain tuple, whose types Numba recognizes 1 us sooner.
        index: An `IndexArrays` as a plain tuple.

    Returns:
        ``(ids [Q, k], scores [Q, k])``.
    """
    return _search(queries, k, wanted, widths, TreeArrays(*tree), IndexArrays(*index))


@cached_njit()
def _search(
    queries: NDArray[np.float32],
    k: int,
    wanted: int,
    widths: NDArray[np.int64],
    tree: TreeArrays,
    index: IndexArrays,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    best = np.full((len(queries), k), -1, np.int64)
    scores = np.full((len(queries), k), -np.inf, np.float32)
    parts = len(index.codebook)
    together, most = min(len(queries), TOGETHER), widths[-1]
    routed = _routed(min(len(queries), ROUTED), most)
    space = _routing_space(len(index.prior) - NODES, 4 * tree.nodes.shape[1])
    visits = _no_visits(together * most, len(index.lists))
    met = _nothing_met(together, wanted, parts)
    exact = np.empty((parts, 16), np.float32)
    tables = _aligned(together, 16 * (parts + parts % 2))  # of an odd number the last has a partner of zeros
    units = np.empty(together, np.float32)
    for start in range(0, len(queries), ROUTED):
        some = queries[start : start + ROUTED]
        _route_all(some, widths, tree, index.prior, space, routed)
        order = np.argsort(routed.best[: len(some)])
        for at in range(0, len(some), TOGETHER):
            chosen = order[at : at + TOGETHER]
            for who in range(len(chosen)):
                units[who] = fill_tables(some[chosen[who]], index.codebook, exact, tables[who])
            count = _plan_visits(chosen, routed, units, index, visits)
            _forget(met)
            scan_visits(visits, count, index.lists, index.place_bits, tables, wanted, met)
            for who in range(len(chosen)):
                row = start + chosen[who]
                found = best_rows(who, wanted, index.lists, index.place_bits, met)
                rows = met.keys[who, :found]
                refine_one(
                    queries[row],
                    rows,
                    index.base,
                    index.tail,
                    index.on_disk,
                    index.ids,
                    best[row],
                    scores[row],
                )
    return best, scores


@cached_njit()
def _route_all(
    queries: NDArray[np.float32],
    widths: NDArray[np.int64],
    tree: TreeArrays,
    prior: NDArray[np.float32],
    space: RoutingSpace,
    routed: Routed,
) -> None:
    """Fills ``routed`` for queries ``[Q, D]``."""
    for query in range(len(queries)):
        count = route(queries[query], tree, prior, widths, space)
        routed.keys[query, :count] = space.keys[:count]
        routed.counts[query] = count
        routed.best[query] = number_of(space.keys[0])


@cached_njit()
def _plan_visits(
    chosen: NDArray[np.int64],
    routed: Routed,
    units: NDArray[np.float32],
    index: IndexArrays,
    visits: Visits,
) -> int:
    """Fills ``visits``: of each query the first `ALONE` leaves, then leaf by leaf for all queries.

    Args:
        chosen: ``[G]`` places of the queries in ``routed``.
        routed: Their leaves, a leaf's similarity being its rank without the prior.
        units: ``[G]`` of the look-up tables.
        index: The index.
        visits: For the result.

    Returns:
        How many visits there are.
    """
    ends, prior = visits.ends, index.prior
    first_leaf = len(prior) - NODES - len(index.lists) + 1
    ends[:] = 0
    for query in chosen:
        kept = routed.counts[query]
        alone = min(ALONE, kept) if len(chosen) > 1 else kept
        ends[0] += alone
        for slot in range(alone, kept):
            ends[number_of(routed.keys[query, slot]) - first_leaf + 1] += 1
    total = 0
    for place in range(len(ends)):  # now where each leaf's begin
        total, ends[place] = total + ends[place], total
    for who in range(len(chosen)):
        query = chosen[who]
        kept, best = routed.counts[query], routed.keys[query, 0]
        origin = float_of_key(best) - prior[number_of(best) - 1]
        alone = min(ALONE, kept) if len(chosen) > 1 else kept
        for slot in range(kept):
            key = routed.keys[query, slot]
            leaf = number_of(key) - first_leaf
            group = 0 if slot < alone else leaf + 1
            visit = ends[group]
            ends[group] += 1
            similarity = float_of_key(key) - prior[number_of(key) - 1]
            steps = np.round((similarity - origin) * units[who])
            visits.queries[visit], visits.leaves[visit] = who, leaf
            visits.biases[visit] = np.int64(min(max(steps, -WIDEST_BIAS), WIDEST_BIAS))
    return total


@cached_njit()
def _routed(queries: int, most: int) -> Routed:
    return Routed(
        np.empty((queries, most), np.int64), np.empty(queries, np.int64), np.empty(queries, np.int64)
    )


@cached_njit()
def _routing_space(nodes: int, width: int) -> RoutingSpace:
    return RoutingSpace(
        np.empty(nodes + 1, np.int64),
        np.zeros(width, np.uint8),
        np.empty(nodes + BLOCK, np.float32),
        np.empty(nodes + 1, np.int64),
    )


@cached_njit()
def _no_visits(most: int, leaves: int) -> Visits:
    return Visits(
        np.empty(most, np.int64),
        np.empty(most, np.int64),
        np.empty(most, np.int64),
        np.empty(leaves + 1, np.int64),
    )


@cached_njit()
def _nothing_met(queries: int, wanted: int, parts: int) -> Met:
    return Met(
        np.empty((queries, 8 * wanted + 2 * BLOCK), np.int64),
        np.empty(queries, np.int64),
        np.empty((queries, (TABLE_MAX * parts >> BIN) + 1), np.int32),
        np.empty(queries, np.int64),
        np.empty(queries, np.int64),
        np.empty(BLOCK, np.uint16),
    )


@cached_njit()
def _forget(met: Met) -> None:
    """Makes place for the next queries."""
    met.held[:] = 0
    met.counts[:] = 0
    met.above[:] = 0
    met.least_bin[:] = 0


@cached_njit()
def _aligned(rows: int, size: int) -> NDArray[np.uint8]:
    """Zeros ``[rows, size]`` that begin where a line of memory does."""
    room = np.zeros(rows * size + LINE, np.uint8)
    skip = (-room.ctypes.data) % LINE
    aligned: NDArray[np.uint8] = room[skip : skip + rows * size].reshape(rows, size)
    return aligned
