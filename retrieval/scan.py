"""The search of a batch in one compiled call: down the tree, over the codes, through the exact vectors.

For each query by itself, so that a batch answers as its queries alone do, bit for bit:

1. *Descent*: on each level the nodes of highest ``sim(q, μ) + prior`` among the children of those kept above.
2. *Tables*: inner products of the query with the codes' centroids, rounded to 5 bits. Codes describe what a
   vector differs by from its leaf's centroid, and ``q·(μ + r) = q·μ + q·r``: one table serves all leaves.
3. *Scan*: leaf by leaf, best first, sums of table entries 32 vectors at a time (`retrieval.simd`); only those
   that beat the present ``refine``-th best leave the registers.
4. *Refining*: exact scores of the best by codes, fetched ahead; of equal scores the smaller id stands first.

Keys are whole numbers with what breaks their ties in the lower half, so that every order is total.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from retrieval.simd import (
    BLOCK,
    TABLE_MAX,
    bits_of,
    float_of,
    from_half,
    load_long,
    prefetch,
    scan_block,
    trailing_zeros,
)
from retrieval.vectors import exact_product, keep

_FAST = {"reassoc", "contract", "nsz", "nnan"}
_LOW = 0xFFFFFFFF
SORTED = 16  # leaves put in order: the first ones set the mark that later vectors must pass
AHEAD = 3  # vectors fetched before their turn
LINE = 64  # bytes that memory hands out at once
BIN = 2  # bits of a code score that its bin does without


@numba.njit(cache=True, nogil=True, inline="always")
def _key(score: np.float32, number: int) -> int:
    """Orders by score, then the smaller number first. The number is below 2^32."""
    bits: Any = np.int64(bits_of(np.float32(score)))
    if bits < 0:
        bits ^= np.int64(0x7FFFFFFF)
    return (bits << 32) | (_LOW - number)


@numba.njit(cache=True, nogil=True, inline="always")
def _float(bits: Any) -> Any:
    """The score of a key's upper half."""
    if bits < 0:
        bits ^= np.int64(0x7FFFFFFF)
    return float_of(np.int32(bits))


@numba.njit(cache=True, nogil=True)
def _keep_largest(keys: NDArray[np.int64], count: int, wanted: int) -> None:
    """Moves the ``wanted`` largest of ``keys[:count]`` to the front (quickselect); keys are distinct."""
    low, high = 0, count - 1
    while low < high:
        middle = (low + high) >> 1
        a, b, c = keys[low], keys[middle], keys[high]
        pivot = max(min(a, b), min(max(a, b), c))
        left, right = low, high
        while left <= right:
            while keys[left] > pivot:
                left += 1
            while keys[right] < pivot:
                right -= 1
            if left <= right:
                keys[left], keys[right] = keys[right], keys[left]
                left += 1
                right -= 1
        if wanted - 1 <= right:
            high = right
        elif wanted - 1 >= left:
            low = left
        else:
            return


@numba.njit(cache=True, nogil=True)
def _sort_down(keys: NDArray[np.int64], count: int) -> None:
    """Largest first; few keys (insertion)."""
    for at in range(1, count):
        key, place = keys[at], at
        while place > 0 and keys[place - 1] < key:
            keys[place] = keys[place - 1]
            place -= 1
        keys[place] = key


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
def _descend(
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
                keys[found] = _key(similarities[node - first] + prior[node - 1], node)
                found += 1
        kept = min(found, widths[level])
        if found > kept:
            _keep_largest(keys, found, kept)
        for slot in range(kept):
            parents[slot] = _LOW - (keys[slot] & _LOW)
    # The best leaves fill the list of candidates with scores that few of the others' vectors reach.
    first = min(kept, SORTED)
    _keep_largest(keys, kept, first)
    _sort_down(keys, first)
    return kept


@numba.njit(cache=True, nogil=True, fastmath=_FAST)
def _tables(
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


@numba.njit(cache=True, nogil=True)
def _prefetch_lines(address: int, count: int) -> None:
    for line in range(count):
        prefetch(address + LINE * line)


@numba.njit(cache=True, nogil=True, inline="always")
def _node(key: int) -> int:
    """The number in a key's lower half."""
    return _LOW - (key & _LOW)


@numba.njit(cache=True, nogil=True, inline="always")
def _similarity(key: int, prior: NDArray[np.float32]) -> np.float32:
    """Of a leaf, from its key: the rank without the prior."""
    return _float(key >> 32) - prior[_node(key) - 1]


@numba.njit(cache=True, nogil=True)
def _drop_below(keys: NDArray[np.int64], count: int, score: int) -> int:
    """Moves the keys of at least this score to the front and returns how many."""
    kept = 0
    for at in range(count):
        key = keys[at]
        keys[kept] = key
        kept += (key >> 32) >= score
    return kept


@numba.njit(cache=True, nogil=True, inline="always")
def _hidden(allowed: NDArray[np.uint8], address: int) -> bool:
    """Whether a filter leaves out the row whose number is at an address."""
    if len(allowed) == 0:
        return False
    row: Any = load_long(address)
    return (allowed[row >> 3] >> (row & 7)) & 1 == 0


@numba.njit(cache=True, nogil=True)
def _look_up_rows(
    keys: NDArray[np.int64],
    found: int,
    leaves: NDArray[np.int64],
    count: int,
    starts: NDArray[np.int64],
    lists: NDArray[np.int64],
    first_leaf: int,
) -> None:
    """Replaces keys by the rows of the places that they name."""
    for slot in range(found):
        place = _LOW - (keys[slot] & _LOW)
        low, high = 0, count
        while high - low > 1:
            middle = (low + high) >> 1
            if starts[middle] <= place:
                low = middle
            else:
                high = middle
        keys[slot] = load_long(lists[_node(leaves[low]) - first_leaf, 1] + 8 * (place - starts[low]))


@numba.njit(cache=True, nogil=True)
def _scan(
    leaves: NDArray[np.int64],
    count: int,
    prior: NDArray[np.float32],
    lists: NDArray[np.int64],
    tables: NDArray[np.uint8],
    unit: np.float32,
    allowed: NDArray[np.uint8],
    wanted: int,
    sums: NDArray[np.uint16],
    starts: NDArray[np.int64],
    counts: NDArray[np.int32],
    keys: NDArray[np.int64],
) -> int:
    """Leaves the rows of highest code score in front of ``keys`` and returns how many (at most wanted).

    ``counts`` of the scores met, in bins, tell at every moment what the ``wanted``-th best at least is. While
    it scans, keys hold a vector's place in the order of scanning: its row is looked up at the end.
    """
    first_leaf = len(prior) + 1 - len(lists)  # node numbers of leaves are the last ones
    found, above, least_bin = 0, 0, 0
    counts[:] = 0
    last_bin = len(counts) - 1
    size = len(tables)
    at_tables, at_sums = tables.ctypes.data, sums.ctypes.data
    starts[0] = 0
    origin = _similarity(leaves[0], prior)
    for slot in range(count):
        leaf = _node(leaves[slot]) - first_leaf
        codes, numbers, members = lists[leaf, 0], lists[leaf, 1], lists[leaf, 2]
        starts[slot + 1] = starts[slot] + members
        if slot + 1 < count:
            after = lists[_node(leaves[slot + 1]) - first_leaf, 0]
            _prefetch_lines(after, 8)
        bias = np.int64(np.round((_similarity(leaves[slot], prior) - origin) * unit))
        for block in range((members + BLOCK - 1) // BLOCK):
            least = (least_bin << BIN) - bias if least_bin > 0 else 0
            if least > 65535:
                break
            mask: Any = scan_block(codes + block * size, at_tables, size, np.uint16(max(least, 0)), at_sums)
            mask &= np.uint32((1 << min(members - BLOCK * block, BLOCK)) - 1)  # the last block has gaps
            while mask != 0:
                place = trailing_zeros(mask)
                mask &= mask - np.uint32(1)
                score: Any = np.int64(sums[place]) + bias
                place += BLOCK * block
                if _hidden(allowed, numbers + 8 * place):
                    continue
                if found == len(keys):
                    _keep_largest(keys, found, wanted)
                    found = wanted
                prefetch(numbers + 8 * place)
                keys[found] = (score << 32) | (_LOW - (starts[slot] + place))
                found += 1
                place = min(max(score >> BIN, 0), last_bin)
                if place >= least_bin:
                    counts[place] += 1
                    above += 1
                    while above - counts[least_bin] >= wanted:
                        above -= counts[least_bin]
                        least_bin += 1
    if least_bin > 0:
        found = _drop_below(keys, found, least_bin << BIN)
    if found > wanted:
        _keep_largest(keys, found, wanted)
        found = wanted
    _look_up_rows(keys, found, leaves, count, starts, lists, first_leaf)
    return found


@numba.njit(cache=True, nogil=True)
def _refine(
    query: NDArray[np.float32],
    candidates: NDArray[np.int64],
    count: int,
    base: NDArray,
    tail: NDArray,
    ids: NDArray[np.int64],
    best: NDArray[np.int64],
    scores: NDArray[np.float32],
) -> None:
    """Scores candidate rows exactly into ``best`` and ``scores``, best first."""
    filled = 0
    stride = base.itemsize * len(query)
    at = base.ctypes.data
    for slot in range(count + AHEAD):
        if slot < count:
            row = candidates[slot]
            if row < len(base):
                _prefetch_lines(at + row * stride, (stride + LINE - 1) // LINE)
        if slot >= AHEAD:
            row = candidates[slot - AHEAD]
            vector = base[row] if row < len(base) else tail[row - len(base)]
            score = exact_product(query, vector)
            filled = keep(ids[row], score, filled, best, scores)


@numba.njit(cache=True, nogil=True)
def search(
    queries: NDArray[np.float32],
    k: int,
    wanted: int,
    widths: NDArray[np.int64],
    centroids: NDArray[np.uint16],
    children: NDArray[np.int64],
    prior: NDArray[np.float32],
    codebook: NDArray[np.float32],
    lists: NDArray[np.int64],
    allowed: NDArray[np.uint8],
    base: NDArray,
    tail: NDArray,
    ids: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """All of it, query by query; see `retrieval.fast_path.FastPath.search`.

    Args:
        queries: ``[Q, D]``.
        k: how many.
        wanted: candidates to refine.
        widths: ``[L]`` nodes kept on each level.
        centroids: ``[N, D]`` bits of half precision, all levels' nodes in order.
        children: ``[N_inner + 2]``: children of node ``i`` (the root is 0) are numbers ``children[i]`` to
            ``children[i + 1]``, and node ``i`` is row ``i - 1`` of ``centroids`` and ``prior``.
        prior: ``[N]``.
        codebook: ``[parts, dimensions, 16]``.
        lists: ``[M, 3]``, see `retrieval.leaves.Leaves.lists`.
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
    leaf_keys = np.empty(nodes, np.int64)
    parents = np.empty(nodes + 1, np.int64)
    similarities = np.empty(nodes, np.float32)
    exact = np.empty((len(codebook), 16), np.float32)
    even = len(codebook) + len(codebook) % 2  # of an odd number the last has a partner of zeros
    room = np.zeros(16 * even + LINE, np.uint8)
    skip = (-room.ctypes.data) % LINE
    tables = room[skip : skip + 16 * even]
    sums = np.empty(BLOCK, np.uint16)
    starts = np.empty(widths[-1] + 1, np.int64)
    counts = np.empty((TABLE_MAX * len(codebook) >> BIN) + 1, np.int32)
    keys = np.empty(8 * wanted + 2 * BLOCK, np.int64)
    for number in range(len(queries)):
        query = queries[number]
        leaves = _descend(query, centroids, children, prior, widths, leaf_keys, similarities, parents)
        unit = _tables(query, codebook, exact, tables)
        found = _scan(
            leaf_keys, leaves, prior, lists, tables, unit, allowed, wanted, sums, starts, counts, keys
        )
        _refine(query, keys, found, base, tail, ids, best[number], scores[number])
    return best, scores
