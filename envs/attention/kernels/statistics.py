"""Statistics of maps, compiled for the CPU: those of `models.attention_statistics`, many maps side by side.

A map is a column: what is summed over nodes is then summed for all maps at once, as vectors, and a region is
a row that is added to. Short loops of a few arrays each are what the compiler turns into vector instructions.
"""

from __future__ import annotations

import math

import numpy as np

from envs.attention.kernels.candidates import exponentials
from envs.attention.kernels.jit import Array, entry, inner, once

F = np.float32
TOTAL, OWN, ENTROPY, PEAK, MOST, SPREAD = 0, 1, 2, 3, 4, 5
"""Rows of what `survey` finds: the sum of a map, the mean of its logits under it, and the statistics."""
FOUND = 6
OVERLAP = np.int64(4)
"""Which statistic is the overlap; the others come before it, in the order of the rows above."""
REGIONS = 9
"""Rows of the room of `survey` before those of regions."""


@inner
def survey(
    changed: Array, region: Array, centers: Array, described: bool, mass: Array, room: Array, found: Array
) -> None:
    """What there is to say of `M` maps of one level.

    Args:
        changed: Their logits, `[n, M]`.
        region: `[n]`, `R` for none.
        centers: `[n, 3]`.
        described: Statistics are wanted too.
        mass: Written to: the maps times their sums, `[n, M]`.
        room: Written to, `[REGIONS + R + 1, M]`: after some room, the share of each map in each region.
        found: Written to, `[FOUND, M]`.
    """
    nodes, maps = changed.shape
    exponentials(changed.reshape(changed.size), F(1), mass.reshape(mass.size))
    found[:] = F(0)
    total, own = found[TOTAL], found[OWN]
    for j in range(nodes):
        one, logit = mass[j], changed[j]
        for m in range(maps):
            total[m] += one[m]
            own[m] += one[m] * logit[m]
    for m in range(maps):
        own[m] /= total[m]
    if not described:
        return
    room[:] = F(0)
    for j in range(nodes):
        share = room[REGIONS + region[j]]
        one = mass[j]
        for m in range(maps):
            share[m] += one[m]
    for r in range(REGIONS, len(room)):
        share = room[r]
        for m in range(maps):
            share[m] /= total[m]
    largest(mass, room)
    scatter(mass, centers, room)
    uniform = F(1 / math.log(max(nodes, 2)))
    for m in range(maps):
        part = F(1) / total[m]
        found[ENTROPY, m] = (F(math.log(total[m])) - own[m]) * uniform
        found[PEAK, m] = room[1, m] * part
        found[MOST, m] = (room[1, m] + room[2, m] + room[3, m] + room[4, m]) * part
        a, b, c = room[5, m] * part, room[6, m] * part, room[7, m] * part
        found[SPREAD, m] = math.sqrt(max(room[8, m] * part - a * a - b * b - c * c, F(0)))


@once
def largest(mass: Array, room: Array) -> None:
    """The four largest entries of each map, or all and 0, to rows 1 to 4 of the room, which are 0."""
    rest, first, second, third, fourth = room[0], room[1], room[2], room[3], room[4]
    for j in range(len(mass)):
        one = mass[j]
        for m in range(len(one)):  # the two largest, and what is left over
            x = one[m]
            y = min(first[m], x)
            first[m] = max(first[m], x)
            rest[m] = min(second[m], y)
            second[m] = max(second[m], y)
        for m in range(len(one)):
            x = rest[m]
            y = min(third[m], x)
            third[m] = max(third[m], x)
            fourth[m] = max(fourth[m], y)


@once
def scatter(mass: Array, centers: Array, room: Array) -> None:
    """Sums of each map's mass times x, y, z and their squared norm: rows 5 to 8 of the room, which are 0.

    The distance from the mass's centre is made of these, see `models.attention_statistics.spread`.
    """
    x, y, z, square = room[5], room[6], room[7], room[8]
    for j in range(len(mass)):
        a, b, c = centers[j, 0], centers[j, 1], centers[j, 2]
        norm = a * a + b * b + c * c
        one = mass[j]
        for m in range(len(one)):
            x[m] += one[m] * a
            y[m] += one[m] * b
        for m in range(len(one)):
            z[m] += one[m] * c
            square[m] += one[m] * norm


@inner
def overlaps(fine: Array, coarse: Array, out: Array) -> None:
    """One minus the total variation of maps' shares of regions, `[REGIONS + R + 1, M]` each: `out` `[M]`."""
    out[:] = F(1)
    for r in range(REGIONS, len(fine) - 1):
        one, other = fine[r], coarse[r]
        for m in range(len(out)):
            out[m] -= F(0.5) * abs(one[m] - other[m])


@entry
def renew(
    rows: Array,
    starts: Array,
    agrees: Array,
    length: Array,
    touched: Array,
    sharpness: Array,
    pooling: Array,
    logits: Array,
    centers: Array,
    region: Array,
    regions: int,
    statistics: Array,
) -> None:
    """Statistics of levels whose maps have changed by a temperature, without any association.

    Args:
        rows: i64 `[b]`.
        starts: The first node of each level, and the end, i64 `[L + 1]`.
        agrees: Levels that have an overlap with the next coarser one, bool `[L]`.
        length: Tokens up to the last real one, i64 `[B]`.
        touched: Levels whose maps are new, bool `[B, L]`.
        sharpness: `[B, L]`.
        pooling: Weights of the tokens, `[B, T]`.
        logits: `[B, C, H, T, N]`, at most 0.
        centers: `[B, C, N, 3]`.
        region: `[B, C, N]`, `R` for none.
        regions: `R`.
        statistics: Written to, `[B, K, L, H, F]`.
    """
    _, leading, levels, heads, _ = statistics.shape
    nodes, tokens = logits.shape[4], logits.shape[3]
    rooms = np.empty(levels * (REGIONS + regions + 1) * tokens, np.float32)
    space, other = np.empty(nodes * tokens, np.float32), np.empty(nodes * tokens, np.float32)
    space_found, overlap = np.empty(FOUND * tokens, np.float32), np.empty(tokens, np.float32)
    for i in range(len(rows) * leading * heads):
        row, c, h = rows[i // (leading * heads)], i // heads % leading, i % heads
        maps = length[row]
        room = rooms[: levels * (REGIONS + regions + 1) * maps].reshape(levels, -1, maps)
        found = space_found[: FOUND * maps].reshape(FOUND, maps)
        for level in range(levels):
            new = touched[row, level]
            finer = level > 0 and agrees[level - 1] and touched[row, level - 1]
            coarser = level + 1 < levels and agrees[level] and touched[row, level + 1]
            wanted = new or finer or coarser
            if not wanted:
                continue
            begin, end = starts[level], starts[level + 1]
            changed = space[: (end - begin) * maps].reshape(end - begin, maps)
            mass = other[: (end - begin) * maps].reshape(end - begin, maps)
            for t in range(maps):
                for j in range(begin, end):
                    changed[j - begin, t] = logits[row, c, h, t, j] * sharpness[row, level]
            survey(
                changed,
                region[row, c, begin:end],
                centers[row, c, begin:end],
                wanted,
                mass,
                room[level],
                found,
            )
            if new:
                for f in range(OVERLAP):
                    statistics[row, c, level, h, f] = average(found[ENTROPY + f], pooling[row])
        for level in range(levels - 1):
            if agrees[level] and (touched[row, level] or touched[row, level + 1]):
                overlaps(room[level], room[level + 1], overlap[:maps])
                statistics[row, c, level, h, OVERLAP] = average(overlap[:maps], pooling[row])


@inner
def average(values: Array, weights: Array) -> np.float32:
    """The sum of `[M]` values by the first `M` weights."""
    result = F(0)
    for m in range(len(values)):
        result += values[m] * weights[m]
    return result
