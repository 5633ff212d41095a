"""Associations of the paired candidate, compiled for the CPU; see `kernels.py`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from envs.kernels import Array, conclude, entry, exponentials, finish, inner, look
from envs.kernels_statistics import largest, overlap, regions_of, scatter

F = np.float32


@inner
def moves(mask: bool, fresh: bool, before: Array, after: Array, association: Array) -> bool:
    """Whether the associations `[R]` of a token have moved, from none where it is evaluated afresh.

    Writes what they were and are to `association` `[2, R + 1]`.
    """
    moved = False
    for r in range(len(before)):
        association[0, r] = F(0) if fresh else before[r]
        association[1, r] = after[r]
        moved |= association[0, r] != association[1, r]
    return mask and moved


@inner
def describe(
    logits: Array,
    sharpness: float,
    association: Array,
    region: Array,
    centers: Array,
    seen: bool,
    maps: Array,
    changed: Array,
    features: Array,
    shares: Array,
) -> tuple[float, float]:
    """One map of one level under an association: its sum, and its KL up to a constant.

    Args:
        logits: `[n]`.
        sharpness: Of the level.
        association: `[R + 1]`, the last of which is 0.
        region: `[n]`.
        centers: `[n, 3]`.
        seen: The candidate has statistics.
        maps: Written to, times the sum, `[n]`.
        changed: Room for `[n]`.
        features: The statistics but the overlap, `[4]`.
        shares: Of regions, `[R + 1]`.
    """
    nodes = len(logits)
    for j in range(nodes):
        changed[j] = logits[j] * sharpness + association[region[j]]
    total, own = exponentials(changed[:nodes], F(1), maps)
    mean = F(0)
    for j in range(nodes):
        mean += maps[j] * logits[j]
    log_total, own = math.log(total), own / total
    if seen:
        peak, most = largest(maps, nodes)
        features[0] = (log_total - own) / F(math.log(max(nodes, 2)))
        features[1], features[2] = peak / total, most / total
        features[3] = scatter(maps, total, centers)
        regions_of(maps, total, region, shares)
    return total, own - mean / total - log_total


@inner
def compare(
    logits: Array,
    starts: Array,
    sharpness: Array,
    weight: Array,
    share: float,
    renewed: Array,
    association: Array,
    region: Array,
    centers: Array,
    leads: bool,
    divergence: Array,
    heads: int,
    maps: Array,
    changed: Array,
    features: Array,
    shares: Array,
) -> None:
    """The maps of one token and head without and with what has moved.

    Args:
        logits: `[N]`.
        starts: `[L + 1]`.
        sharpness: `[L]`.
        weight: `[L]`.
        share: How much the token counts in KL.
        renewed: bool `[L]`.
        association: `[2, R + 1]`.
        region: `[N]`.
        centers: `[N, 3]`.
        leads: The candidate has statistics.
        divergence: What has changed is added, `[L]`.
        heads: `H`.
        maps: Written to, `[2, N]`: the second are the maps now, weighed.
        changed: Room for `[N]`.
        features: As in `describe`, `[2, L, 4]`.
        shares: As in `describe`, `[2, L, R + 1]`.
    """
    for level in range(len(starts) - 1):
        begin, end = starts[level], starts[level + 1]
        kl, total = F(0), F(1)
        for side in range(2):
            total, more = describe(
                logits[begin:end], sharpness[level], association[side], region[begin:end], centers[begin:end],
                leads, maps[side, begin:end], changed, features[side, level], shares[side, level],
            )  # fmt: skip
            kl = more - kl
        if renewed[level]:
            divergence[level] += kl * share / F(heads)
        for j in range(begin, end):
            maps[1, j] *= weight[level] / total


@inner
def change(
    renewed: Array, agrees: Array, pooling: float, features: Array, shares: Array, statistics: Array
) -> None:
    """Add to statistics `[L, F]` of a head what a token has changed about them."""
    for level in range(len(renewed)):
        if renewed[level]:
            for f in range(4):
                statistics[level, f] += pooling * (features[1, level, f] - features[0, level, f])
        if agrees[level] and (renewed[level] or renewed[level + 1]):
            now = overlap(shares[1, level], shares[1, level + 1])
            was = overlap(shares[0, level], shares[0, level + 1])
            statistics[level, 4] += pooling * (now - was)


@entry
def pairs(
    rows: Array,
    afresh: Array,
    renewed: Array,
    # the layout
    starts: Array,
    axis: int,
    agrees: Array,
    # of rows `[B, ...]`
    before: Array,
    after: Array,
    mask: Array,
    paired: Array,
    sharpness: Array,
    weight: Array,
    share: Array,
    pooling: Array,
    numbers: Array,
    logits: Array,
    values: Array,
    evidence: Array,
    centers: Array,
    region: Array,
    asked: Array,
    # written to
    divergence: Array,
    statistics: Array,
    scores: Array,
    model: tuple[Any, ...],
    room: tuple[Any, ...],
) -> None:
    """Verdicts by the paired candidates of `rows` on the tokens whose associations have moved.

    Statistics and KL change by what those tokens change.

    Args:
        rows: i64 `[b]`.
        afresh: Rows that have just been evaluated as if there were no association, bool `[B]`.
        renewed: Levels whose KL and statistics lack the change, bool `[B, L]`.
        starts: As all that is not here in `kernels.every`.
        axis: As there.
        agrees: Levels that have an overlap with the next coarser one, bool `[L]`.
        before: Associations before the action, `[B, T, R]`.
        after: And after it.
        mask: Real tokens, bool `[B, T]`.
        paired: i64 `[B]`.
        sharpness: As there.
        weight: As there.
        share: As there.
        pooling: Weights of the tokens in statistics, `[B, T]`.
        numbers: As there.
        logits: As there.
        values: As there.
        evidence: As there.
        centers: `[B, C, N, 3]`.
        region: `[B, C, N]`, `R` for none.
        asked: As there.
        divergence: As there.
        statistics: Of the leading candidates, `[B, K, L, H, F]`.
        scores: As there.
        model: As there.
        room: As there.
    """
    levels, regions = len(starts) - 1, after.shape[2]
    maps = np.empty((2, logits.shape[4]), np.float32)
    changed = np.empty(logits.shape[4], np.float32)
    association = np.zeros((2, regions + 1), np.float32)  # the last column stays 0
    features = np.empty((2, levels, 4), np.float32)
    shares = np.empty((2, levels, regions + 1), np.float32)
    first, width = starts[levels - 1] + axis, values.shape[4]
    lines, seen, _, _, _ = room
    full, count = 0, 0
    for row in rows:
        c = paired[row]
        for t in range(mask.shape[1]):
            if not moves(mask[row, t], afresh[row], before[row, t], after[row, t], association):
                continue
            if full == len(lines):
                conclude(full, count, asked, scores, model, room)
                full, count = 0, 0
            for h in range(logits.shape[2]):
                compare(
                    logits[row, c, h, t], starts, sharpness[row], weight[row, h, t], share[row, t],
                    renewed[row], association, region[row, c], centers[row, c], c < statistics.shape[1],
                    divergence[row, c], len(weight[row]), maps, changed, features, shares,
                )  # fmt: skip
                np.dot(maps[1], values[row, c, h], lines[full, h * width : (h + 1) * width])
                if numbers[row, t]:
                    per_head = evidence.shape[4]
                    look(maps[1, first:], evidence[row, c, t], seen[count, h * per_head : (h + 1) * per_head])
                if c < statistics.shape[1]:
                    change(renewed[row], agrees, pooling[row, t], features, shares, statistics[row, c, :, h])
            finish(row, c, t, numbers[row, t], full, count, model, room)
            full += 1
            count += numbers[row, t]
    conclude(full, count, asked, scores, model, room)
