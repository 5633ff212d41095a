"""Statistics of maps, compiled for the CPU: those of `models.attention_statistics`, many maps side by side.

A map is a column: what is summed over nodes is then summed for all maps at once, as vectors, and a region is
a row that is added to. Short loops of a few arrays each are what the compiler turns into vector instructions.
"""

from __future__ import annotations

import math

import numpy as np

from envs.attention.kernels.arrays import Array, UpdateArrays
from envs.attention.kernels.jit import entry, inner, once

F = np.float32
LOWEST, HIGHEST = F(-87), F(88)  # beyond, a float32 is 0 or infinite
PER_OCTAVE = F(1 / math.log(2))
OCTAVE, OCTAVE_REST = (
    F(0.693359375),
    F(-2.12194440e-4),
)  # ln 2, the first exact when multiplied by an exponent
HALF_UP = F(127.5)
BIAS, MANTISSA = np.int32(127), np.int32(23)
# Cephes' polynomial for exp on [-ln 2 / 2, ln 2 / 2] (expf.c): to 2 units in the last place
P0, P1, P2 = F(1.9875691500e-4), F(1.3981999507e-3), F(8.3334519073e-3)
P3, P4, P5 = F(4.1665795894e-2), F(1.6666665459e-1), F(5.0000001201e-1)
TOTAL, OWN, ENTROPY, PEAK, MOST, SPREAD = 0, 1, 2, 3, 4, 5
"""Rows of what `map_statistics` finds: a map's sum, the mean of its logits under it, and the statistics."""
FOUND = 6
OVERLAP = np.int64(4)
"""Which statistic is the overlap; the others come before it, in the order of the rows above."""
REGIONS = 9
"""Rows of the room of `map_statistics` before those of regions."""


@inner
def exponentials(logits: Array, sharpness: float, out: Array) -> tuple[np.float32, np.float32]:
    """Write `exp(sharpness * logits)` to `out`, `[n]`; their sum, and that of their products with the logits.

    The library's exponential is a call for each number; this one is a few vector instructions for sixteen.
    """
    total, mean = F(0), F(0)
    for j in range(len(logits)):
        x = min(max(logits[j] * sharpness, LOWEST), HIGHEST)
        power = np.int32(x * PER_OCTAVE + HALF_UP)  # biased, so that cutting it off rounds
        octaves = F(power - BIAS)
        rest = x - octaves * OCTAVE - octaves * OCTAVE_REST
        series = ((((P0 * rest + P1) * rest + P2) * rest + P3) * rest + P4) * rest + P5
        out[j] = (series * rest * rest + rest + F(1)) * np.int32(power << MANTISSA).view(np.float32)
    for j in range(len(logits)):  # not above: beside a store, the order of a sum depends on where arrays lie
        total += out[j]
        mean += out[j] * logits[j]
    return total, mean


@inner
def map_statistics(
    changed: Array, region: Array, centers: Array, described: bool, mass: Array, room: Array, found: Array
) -> None:
    """Sums and statistics of `M` maps of one level.

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
    spatial_moments(mass, centers, room)
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
def spatial_moments(mass: Array, centers: Array, room: Array) -> None:
    """Sums of each map's mass times x, y, z and their squared norm: rows 5 to 8 of the room, which are 0.

    The distance from the mass's center is made of these, see `models.attention_statistics.spread`.
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
def renew_statistics(rows: Array, arrays: UpdateArrays) -> None:
    """Statistics of the levels whose maps a temperature has changed, without any association.

    Args:
        rows: i64 `[b]`.
        arrays: See there; statistics are written to.
    """
    starts, agrees, statistics = arrays.starts, arrays.agrees, arrays.statistics
    _, leading, levels, heads, _ = statistics.shape
    nodes, tokens, regions = arrays.logits.shape[4], arrays.logits.shape[3], arrays.regions
    rooms = np.empty(levels * (REGIONS + regions + 1) * tokens, np.float32)
    space, other = np.empty(nodes * tokens, np.float32), np.empty(nodes * tokens, np.float32)
    space_found, overlap = np.empty(FOUND * tokens, np.float32), np.empty(tokens, np.float32)
    for i in range(len(rows) * leading * heads):
        row, c, h = rows[i // (leading * heads)], i // heads % leading, i % heads
        maps, renewed, pooling = arrays.length[row], arrays.renewed[row], arrays.pooling[row]
        room = rooms[: levels * (REGIONS + regions + 1) * maps].reshape(levels, -1, maps)
        found = space_found[: FOUND * maps].reshape(FOUND, maps)
        for level in range(levels):
            new = renewed[level]
            finer = level > 0 and agrees[level - 1] and renewed[level - 1]
            coarser = level + 1 < levels and agrees[level] and renewed[level + 1]
            described = new or finer or coarser
            if not described:
                continue
            begin, end = starts[level], starts[level + 1]
            changed = space[: (end - begin) * maps].reshape(end - begin, maps)
            mass = other[: (end - begin) * maps].reshape(end - begin, maps)
            for t in range(maps):
                for j in range(begin, end):
                    changed[j - begin, t] = arrays.logits[row, c, h, t, j] * arrays.sharpness[row, level]
            region, centers = arrays.region[row, c, begin:end], arrays.centers[row, c, begin:end]
            map_statistics(changed, region, centers, described, mass, room[level], found)
            if new:
                for f in range(OVERLAP):
                    statistics[row, c, level, h, f] = average(found[ENTROPY + f], pooling)
        for level in range(levels - 1):
            if agrees[level] and (renewed[level] or renewed[level + 1]):
                overlaps(room[level], room[level + 1], overlap[:maps])
                statistics[row, c, level, h, OVERLAP] = average(overlap[:maps], pooling)


@inner
def average(values: Array, weights: Array) -> np.float32:
    """The sum of `[M]` values by the first `M` weights."""
    result = F(0)
    for m in range(len(values)):
        result += values[m] * weights[m]
    return result
