"""Statistics of maps, compiled for the CPU: those of `models.statistics`, one map at a time."""

from __future__ import annotations

import math

import numpy as np

from envs.kernels import Array, entry, exponentials, inner

F = np.float32


@inner
def scatter(maps: Array, total: float, centers: Array) -> float:
    """Root mean square distance of the mass of one map from its centre, see `models.statistics.spread`.

    Args:
        maps: `[n]`, not yet divided by its sum.
        total: The sum.
        centers: `[n, 3]`.
    """
    x, y, z, square = F(0), F(0), F(0), F(0)
    for j in range(len(maps)):
        a, b, c = centers[j, 0], centers[j, 1], centers[j, 2]
        x += maps[j] * a
        y += maps[j] * b
        z += maps[j] * c
        square += maps[j] * (a * a + b * b + c * c)
    one = F(1) / total
    x, y, z = x * one, y * one, z * one
    return math.sqrt(max(square * one - x * x - y * y - z * z, F(0)))


@inner
def regions_of(maps: Array, total: float, region: Array, out: Array) -> None:
    """The share of one map's mass in each region, `out` `[R + 1]`, the last one being none."""
    for r in range(len(out)):
        out[r] = F(0)
    for j in range(len(maps)):
        out[region[j]] += maps[j]
    for r in range(len(out)):
        out[r] /= total


@inner
def overlap(one: Array, other: Array) -> np.float32:
    """One minus the total variation of shares of regions, `[R + 1]` each."""
    apart = F(0)
    for r in range(len(one) - 1):
        apart += abs(one[r] - other[r])
    return F(1) - F(0.5) * apart


@inner
def agree(
    t: int,
    fine: int,
    starts: Array,
    sharpness: Array,
    logits: Array,
    region: Array,
    maps: Array,
    shares: Array,
) -> float:
    """The overlap of the maps of a level and the next coarser one, of one token and head.

    Args:
        t: The token.
        fine: The level.
        starts: The first node of each level, and the end, `[L + 1]`.
        sharpness: `[L]`.
        logits: `[T, N]`.
        region: `[N]`.
        maps: Room for as many numbers as a level has nodes.
        shares: Room for `[2, R + 1]`.
    """
    for i in range(2):
        begin, end = starts[fine + i], starts[fine + i + 1]
        total, _ = exponentials(logits[t, begin:end], sharpness[fine + i], maps)
        regions_of(maps[: end - begin], total, region[begin:end], shares[i])
    return overlap(shares[0], shares[1])


@inner
def largest(maps: Array, count: int) -> tuple[np.float32, np.float32]:
    """The largest of positive numbers `[n]`, and the sum of the four largest, or of all."""
    a, b, c, d = F(0), F(0), F(0), F(0)
    for j in range(count):
        x = maps[j]
        if x > d:
            if x > b:
                c, d = b, c
                if x > a:
                    a, b = x, a
                else:
                    b = x
            elif x > c:
                c, d = x, c
            else:
                d = x
    return a, a + b + c + d


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
    top: Array,
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
        top: Of the leading candidates, see `Groundwork.top`, `[B, K, L, H, T, TOP]`.
        centers: `[B, C, N, 3]`.
        region: `[B, C, N]`, `R` for none.
        regions: `R`.
        statistics: Written to, `[B, K, L, H, F]`.
    """
    _, leading, levels, heads, _ = statistics.shape
    most = np.empty(top.shape[5], np.float32)
    maps = np.empty(logits.shape[4], np.float32)
    shares = np.empty((2, regions + 1), np.float32)
    for i in range(len(rows) * leading * heads):
        row, c, h = rows[i // (leading * heads)], i // heads % leading, i % heads
        for level in range(levels):
            found = statistics[row, c, level, h]
            begin, end = starts[level], starts[level + 1]
            if touched[row, level]:
                sharp = sharpness[row, level]
                entropy, peak, mass, distance = F(0), F(0), F(0), F(0)
                for t in range(length[row]):
                    total, mean = exponentials(logits[row, c, h, t, begin:end], sharp, maps)
                    one = pooling[row, t] / total
                    entropy += pooling[row, t] * math.log(total) - one * sharp * mean
                    peak += one  # as the largest exponential is 1
                    mass += one * exponentials(top[row, c, level, h, t], sharp, most)[0]
                    width = scatter(maps[: end - begin], total, centers[row, c, begin:end])
                    distance += pooling[row, t] * width
                found[0] = entropy / F(math.log(max(end - begin, 2)))
                found[1], found[2], found[3] = peak, mass, distance
            if agrees[level] and (touched[row, level] or touched[row, level + 1]):
                mean = F(0)
                for t in range(length[row]):
                    mean += pooling[row, t] * agree(
                        t, level, starts, sharpness[row], logits[row, c, h], region[row, c], maps, shares
                    )
                found[4] = mean
