"""Associations of the paired candidate, compiled for the CPU: what `incremental` does with tensors.

The maps of all tokens whose associations have moved, of all heads, without and with what has moved, are
worked out together, side by side as in `statistics`: in column `(side * G + g) * H + h`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from envs.attention.kernels.arrays import Array, UpdateArrays
from envs.attention.kernels.jit import entry, inner
from envs.attention.kernels.statistics import (
    ENTROPY,
    FOUND,
    OVERLAP,
    OWN,
    REGIONS,
    TOTAL,
    map_statistics,
    overlaps,
)
from envs.attention.kernels.token_scores import evidence_along

F = np.float32
# A literal has a type of its own, for which every function that is given it would be compiled again.
NONE = np.int64(0)


class MovedTokens(NamedTuple):
    """Tokens whose associations have moved, at most `P`.

    Attributes:
        lines: What they are aligned with, `[P, D]`.
        along: Evidence on those that are numbers, `[P, H * E]`.
        row: The row of each, i64 `[P]`.
        token: Its place among the tokens, i64 `[P]`.
        number: Which of them are numbers, in ascending order, i64 `[P]`.
    """

    lines: Array
    along: Array
    row: Array
    token: Array
    number: Array


@inner
def find_moved(
    mask: Array, fresh: bool, before: Array, after: Array, association: Array, moved: Array
) -> int:
    """The number `G` of tokens whose associations have moved, from none where they are evaluated afresh.

    Args:
        mask: Real tokens, bool `[T]`.
        fresh: Whether they are.
        before: `[T, R]`.
        after: `[T, R]`.
        association: The first `G` are what they were and are, `[2, T, R + 1]`, the last of which stays 0.
        moved: The first `G` are which, `[T]`.
    """
    count = 0
    for t in range(len(mask)):
        differs = False
        for r in range(before.shape[1]):
            association[0, count, r] = F(0) if fresh else before[t, r]
            association[1, count, r] = after[t, r]
            differs |= association[0, count, r] != association[1, count, r]
        if mask[t] and differs:
            moved[count] = t
            count += 1
    return count


@inner
def lay_out(
    tokens: Array,
    logits: Array,
    begin: int,
    sharpness: float,
    association: Array,
    region: Array,
    changed: Array,
) -> None:
    """Logits of one level under what associations were and are.

    Args:
        tokens: i64 `[G]`.
        logits: `[H, T, N]`.
        begin: The level's first node.
        sharpness: Of the level.
        association: `[2, T, R + 1]`, of which the first `G` are those of `tokens`.
        region: `[n]`.
        changed: Written to, `[n, 2 * G * H]`.
    """
    heads, half = len(logits), len(tokens) * len(logits)
    for g in range(len(tokens)):
        for h in range(heads):
            line, m = logits[h, tokens[g]], g * heads + h
            for j in range(len(region)):
                logit = line[begin + j] * sharpness
                changed[j, m] = logit + association[0, g, region[j]]
                changed[j, half + m] = logit + association[1, g, region[j]]


@inner
def divergences(
    tokens: Array, logits: Array, begin: int, share: Array, mass: Array, found: Array
) -> np.float32:
    """Change in the KL of one level, mean over heads.

    Args:
        tokens: i64 `[G]`.
        logits: Before any change, `[H, T, N]`.
        begin: The level's first node.
        share: How much each token counts, `[T]`.
        mass: From `map_statistics`, `[n, 2 * G * H]`.
        found: From `map_statistics`, `[FOUND, 2 * G * H]`.
    """
    heads, half, result = len(logits), len(tokens) * len(logits), F(0)
    for g in range(len(tokens)):
        for h in range(heads):
            line, was, now = logits[h, tokens[g]], g * heads + h, half + g * heads + h
            before, after = F(0), F(0)
            for j in range(len(mass)):
                before += mass[j, was] * line[begin + j]
                after += mass[j, now] * line[begin + j]
            # KL but for the initial map's own sum, which is the same on both sides
            one = found[OWN, was] - before / found[TOTAL, was] - F(math.log(found[TOTAL, was]))
            other = found[OWN, now] - after / found[TOTAL, now] - F(math.log(found[TOTAL, now]))
            result += share[tokens[g]] * (other - one)
    return result / F(heads)


@inner
def weigh(tokens: Array, begin: int, weight: Array, mass: Array, total: Array, maps: Array) -> None:
    """The maps of one level as they are now, weighed by level and head.

    Args:
        tokens: i64 `[G]`.
        begin: The level's first node.
        weight: Of the level and its heads, `[H, T]`.
        mass: From `map_statistics`, `[n, 2 * G * H]`.
        total: Its sums, `[2 * G * H]`.
        maps: Written to, `[H, G or more, N]`.
    """
    heads, half = len(maps), len(tokens) * len(maps)
    for h in range(heads):
        for g in range(len(tokens)):
            m = half + g * heads + h
            amount, line = weight[h, tokens[g]] / total[m], maps[h, g]
            for j in range(len(mass)):
                line[begin + j] = mass[j, m] * amount


@inner
def gather(maps: Array, values: Array, gathered: Array, lines: Array) -> None:
    """Attention output of tokens by maps `[H, G or more, N]` of values `[H, N, d]`: `lines` `[G or more, D]`.

    `gathered` is room for `[G, d]`.
    """
    width = values.shape[2]
    for h in range(len(maps)):
        np.dot(maps[h, : len(gathered)], values[h], gathered)
        for g in range(len(gathered)):
            for k in range(width):
                lines[g, h * width + k] = gathered[g, k]


@inner
def differ(tokens: Array, found: Array, pooling: Array, out: Array, step: int) -> None:
    """Add to column `step` of `out` `[H, F]` what tokens have changed about a statistic `[2 * G * H]`."""
    heads, half = len(out), len(tokens) * len(out)
    for g in range(len(tokens)):
        for h in range(heads):
            more = found[half + g * heads + h] - found[g * heads + h]
            out[h, step] += pooling[tokens[g]] * more


@inner
def agree(
    tokens: Array,
    renewed: Array,
    agrees: Array,
    shares: Array,
    pooling: Array,
    overlap: Array,
    statistics: Array,
) -> None:
    """Add to the overlaps of levels with the next coarser one what tokens have changed about them.

    Args:
        tokens: i64 `[G]`.
        renewed: bool `[L]`.
        agrees: bool `[L]`.
        shares: Of each level, from `map_statistics`.
        pooling: `[T]`.
        overlap: Room for `[2 * G * H]`.
        statistics: `[L, H, F]`.
    """
    for level in range(len(renewed) - 1):
        if agrees[level] and (renewed[level] or renewed[level + 1]):
            overlaps(shares[level], shares[level + 1], overlap)
            differ(tokens, overlap, pooling, statistics[level], OVERLAP)


@inner
def evidence_on_pair(maps: Array, g: int, first: int, evidence: Array, out: Array) -> None:
    """Evidence `[3, E]` along the axes that a token attends to: `out` `[H * E]`.

    Args:
        maps: `[H, G, N]`.
        g: Which of the `G` it is.
        first: The node of the first axis.
        evidence: `[3, E]`.
        out: Written to.
    """
    width = evidence.shape[1]
    for h in range(len(maps)):
        evidence_along(maps[h, g, first : first + 3], evidence, out[h * width : (h + 1) * width])


@entry
def update_paired(
    rows: Array, afresh: Array, renewed: Array, arrays: UpdateArrays, moved_tokens: MovedTokens
) -> tuple[np.int64, np.int64]:
    """Tokens whose associations have moved, with what they gather of the paired candidates of some rows.

    Statistics and KL change by what those tokens change.

    Args:
        rows: i64 `[b]`.
        afresh: Rows that have just been evaluated as if there were no association, bool `[B]`.
        renewed: Levels whose KL and statistics lack the change, bool `[B, L]`.
        arrays: See there; divergence and statistics are written to.
        moved_tokens: Written to, row by row.

    Returns:
        How many tokens have moved, and how many of these are numbers.
    """
    starts, agrees, mask, values = arrays.starts, arrays.agrees, arrays.mask, arrays.node_values
    regions, nodes, heads = arrays.association_after.shape[2], arrays.logits.shape[4], arrays.logits.shape[2]
    levels = len(starts) - 1
    first, columns = starts[levels - 1] + arrays.axis, 2 * heads * mask.shape[1]
    space, other = np.empty(nodes * columns, np.float32), np.empty(nodes * columns, np.float32)
    all_shares = np.empty(levels * (REGIONS + regions + 1) * columns, np.float32)
    space_found, overlap = np.empty(FOUND * columns, np.float32), np.empty(columns, np.float32)
    association = np.zeros((2, mask.shape[1], regions + 1), np.float32)
    moved = np.empty(mask.shape[1], np.int64)
    maps = np.empty((heads, mask.shape[1], nodes), np.float32)
    gathered = np.empty((mask.shape[1], values.shape[4]), np.float32)
    lines, along = moved_tokens.lines, moved_tokens.along
    full, count = NONE, NONE
    for row in rows:
        before, after = arrays.association_before[row], arrays.association_after[row]
        g = find_moved(mask[row], afresh[row], before, after, association, moved)
        if g == 0:
            continue
        c, tokens, columns = arrays.paired[row], moved[:g], 2 * g * heads
        leads, pooling = c < arrays.statistics.shape[1], arrays.pooling[row]
        shares = all_shares[: levels * (REGIONS + regions + 1) * columns].reshape(levels, -1, columns)
        found = space_found[: FOUND * columns].reshape(FOUND, columns)
        raw = arrays.logits[row, c]
        for level in range(levels):
            begin, end = starts[level], starts[level + 1]
            changed = space[: (end - begin) * columns].reshape(end - begin, columns)
            mass = other[: (end - begin) * columns].reshape(end - begin, columns)
            region, centers = arrays.region[row, c, begin:end], arrays.centers[row, c, begin:end]
            lay_out(tokens, raw, begin, arrays.sharpness[row, level], association, region, changed)
            map_statistics(changed, region, centers, leads, mass, shares[level], found)
            if renewed[row, level]:
                more = divergences(tokens, raw, begin, arrays.share[row], mass, found)
                arrays.divergence[row, c, level] += more
            if renewed[row, level] and leads:
                for f in range(OVERLAP):
                    differ(tokens, found[ENTROPY + f], pooling, arrays.statistics[row, c, level], f)
            weigh(tokens, begin, arrays.weight[row, :, :, level], mass, found[TOTAL], maps)
        gather(maps, values[row, c], gathered[:g], lines[full:])
        if leads:
            overlap_changes = overlap[:columns]
            agree(tokens, renewed[row], agrees, shares, pooling, overlap_changes, arrays.statistics[row, c])
        for i in range(g):
            t = tokens[i]
            moved_tokens.row[full], moved_tokens.token[full] = row, t
            if arrays.numbers[row, t]:
                moved_tokens.number[count] = full
                evidence_on_pair(maps, i, first, arrays.evidence[row, c, t], along[count])
                count += 1
            full += 1
    return full, count
