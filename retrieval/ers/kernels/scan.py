"""Compiled scan of codes against the tables of a query, and the best rows that it has met so far.

Codes describe what a vector differs by from its leaf's centroid, and ``q·(μ + r) = q·μ + q·r``: one table of
a query serves all its leaves, to whose sums each adds a bias. Sums of table entries are taken 32 vectors at a
time (`retrieval.ers.kernels.simd`); only those that beat the present ``wanted``-th best leave the registers.

What a query has met is the same in whatever order its leaves are scanned, so that a batch may scan them in an
order that suits the memory, and still answers as its queries alone do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiling import cached_njit, inlined
from compiling.instructions import prefetch, prefetch_lines
from retrieval.ers.kernels.arrays import Met, Visits
from retrieval.ers.kernels.simd import BLOCK, TABLE_MAX, load_long, ones, scan_block, trailing_zeros
from retrieval.ers.kernels.sort_keys import drop_below, keep_largest, number_of_whole, whole_key

_FAST = {"reassoc", "contract", "nsz", "nnan"}
BIN = 2  # bits of a code score that its bin does without


@inlined(fastmath=_FAST)
def fill_tables(
    query: NDArray[np.float32],
    codebook: NDArray[np.float32],
    exact: NDArray[np.float32],
    tables: NDArray[np.uint8],
) -> np.float32:
    """Fills the look-up tables ``[parts, 16]`` and returns their entries' units in a score of 1."""
    parts, inner, _ = codebook.shape
    widest = np.float32(0)
    for part in range(parts):
        row = exact[part]
        for code in range(16):
            row[code] = query[part * inner] * codebook[part, 0, code]
        for column in range(1, inner):
            x = query[part * inner + column]
            for code in range(16):
                row[code] += x * codebook[part, column, code]
        least = most = row[0]
        for code in range(16):
            least = min(least, row[code])
            most = max(most, row[code])
        for code in range(16):
            row[code] -= least
        widest = max(widest, most - least)
    unit = np.float32(TABLE_MAX) / max(widest, np.float32(1e-30))
    for part in range(parts):
        for code in range(16):
            tables[16 * part + code] = np.uint8(np.int32(exact[part, code] * unit + np.float32(0.5)))
    return unit


@cached_njit()
def scan_visits(
    visits: Visits,
    count: int,
    lists: NDArray[np.int64],
    place_bits: int,
    tables: NDArray[np.uint8],
    wanted: int,
    met: Met,
) -> None:
    """Adds the rows of leaves to those that queries have met.

    The counts of the scores met, in bins, say at every moment what the ``wanted``-th best is at least.

    Args:
        visits: What to scan.
        count: Number of visits.
        lists: See `IndexArrays`.
        place_bits: See `IndexArrays`: bits of a key above them are the leaf's.
        tables: ``[G, bytes]`` look-up tables of each query, as long as a block of codes.
        wanted: Rows to keep per query.
        met: The rows that the queries have met.
    """
    last_bin, room, size = met.counts.shape[1] - 1, met.keys.shape[1], tables.shape[1]
    at_tables, at_sums = tables.ctypes.data, met.sums.ctypes.data
    for visit in range(count):
        who, leaf, bias = visits.queries[visit], visits.leaves[visit], visits.biases[visit]
        following, ahead = 0, 0
        if visit + 1 < count and visits.leaves[visit + 1] != leaf:  # fetched while this one is scanned
            following = lists[visits.leaves[visit + 1], 0]
            ahead = (lists[visits.leaves[visit + 1], 2] + BLOCK - 1) // BLOCK
        codes, numbers, members = lists[leaf, 0], lists[leaf, 1], lists[leaf, 2]
        found, above, least_bin = met.held[who], met.above[who], met.least_bin[who]
        for block in range((members + BLOCK - 1) // BLOCK):
            least = (least_bin << BIN) - bias if least_bin > 0 else 0
            if least > 65535:
                break
            at_codes = codes + block * size
            if block < ahead:
                prefetch_lines(following + block * size, size)
            mask: Any = scan_block(at_codes, at_tables + who * size, size, np.uint16(max(least, 0)), at_sums)
            mask &= np.uint32((1 << min(members - BLOCK * block, BLOCK)) - 1)  # the last block has gaps
            if mask == 0:
                continue
            if found + BLOCK > room:
                keep_largest(met.keys[who], found, wanted)
                found = wanted
            above += ones(mask)
            while mask != 0:
                place = trailing_zeros(mask)
                mask &= mask - np.uint32(1)
                at = BLOCK * block + place
                prefetch(numbers + 8 * at)
                score: Any = np.int64(met.sums[place]) + bias
                met.keys[who, found] = whole_key(score, (leaf << place_bits) | at)
                found += 1
                met.counts[who, min(max(score >> BIN, 0), last_bin)] += 1
            while above - met.counts[who, least_bin] >= wanted:
                above -= met.counts[who, least_bin]
                least_bin += 1
        met.held[who], met.above[who], met.least_bin[who] = found, above, least_bin


@cached_njit()
def best_rows(who: int, wanted: int, lists: NDArray[np.int64], place_bits: int, met: Met) -> int:
    """Replaces a query's ``wanted`` best keys by their rows, in front; returns how many there are."""
    keys, found, least_bin = met.keys[who], met.held[who], met.least_bin[who]
    if least_bin > 0:
        found = drop_below(keys, found, least_bin << BIN)
    if found > wanted:
        keep_largest(keys, found, wanted)
        found = wanted
    for slot in range(found):
        where = number_of_whole(keys[slot])
        keys[slot] = load_long(lists[where >> place_bits, 1] + 8 * (where & ((1 << place_bits) - 1)))
    return found
