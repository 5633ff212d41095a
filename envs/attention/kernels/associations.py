"""Associations of the paired candidate, compiled for the CPU; see `kernels.py`.

The maps of all tokens whose associations have moved, of all heads, without and with what has moved, are
worked out together, side by side as in `kernels_statistics.py`: in column `(side * G + g) * H + h`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from envs.attention.kernels.candidates import look
from envs.attention.kernels.jit import Array, entry, inner
from envs.attention.kernels.statistics import ENTROPY, FOUND, OVERLAP, OWN, REGIONS, TOTAL, overlaps, survey
from envs.attention.kernels.token_scores import conclude, normalize

F = np.float32
# A literal has a type of its own, for which every function that is given it would be compiled again.
NONE = np.int64(0)


@inner
def find(mask: Array, fresh: bool, before: Array, after: Array, association: Array, moved: Array) -> int:
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
    """What has been added to the KL of one level, mean over heads.

    Args:
        tokens: i64 `[G]`.
        logits: Before any change, `[H, T, N]`.
        begin: The level's first node.
        share: How much each token counts, `[T]`.
        mass: From `survey`, `[n, 2 * G * H]`.
        found: From `survey`, `[FOUND, 2 * G * H]`.
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
        mass: From `survey`, `[n, 2 * G * H]`.
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
    """What tokens gather by maps `[H, G or more, N]` out of values `[H, N, d]`: `lines` `[G or more, D]`.

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
        shares: Of each level, from `survey`.
        pooling: `[T]`.
        overlap: Room for `[2 * G * H]`.
        statistics: `[L, H, F]`.
    """
    for level in range(len(renewed) - 1):
        if agrees[level] and (renewed[level] or renewed[level + 1]):
            overlaps(shares[level], shares[level + 1], overlap)
            differ(tokens, overlap, pooling, statistics[level], OVERLAP)


@inner
def look_along(number: bool, maps: Array, g: int, first: int, evidence: Array, out: Array) -> int:
    """Evidence `[3, E]` along the axes of a token: `out` `[H * E]`.

    Args:
        number: Whether the token is a number.
        maps: `[H, G, N]`.
        g: Which of the `G` it is.
        first: The node of the first axis.
        evidence: `[3, E]`.
        out: Written to.

    Returns:
        How many lines of evidence that makes: none if the token is not a number.
    """
    if not number:
        return 0
    width = evidence.shape[1]
    for h in range(len(maps)):
        look(maps[h, g, first : first + 3], evidence, out[h * width : (h + 1) * width])
    return 1


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
        room: See `kernels_verdicts.conclude`; `P` is the number of tokens at least.
    """
    levels, regions, nodes = len(starts) - 1, after.shape[2], logits.shape[4]
    heads, first = logits.shape[2], starts[levels - 1] + axis
    columns = 2 * heads * mask.shape[1]
    space, other = np.empty(nodes * columns, np.float32), np.empty(nodes * columns, np.float32)
    all_shares = np.empty(levels * (REGIONS + regions + 1) * columns, np.float32)
    facts, overlap = np.empty(FOUND * columns, np.float32), np.empty(columns, np.float32)
    association = np.zeros((2, mask.shape[1], regions + 1), np.float32)
    moved = np.empty(mask.shape[1], np.int64)
    maps = np.empty((heads, mask.shape[1], nodes), np.float32)
    gathered = np.empty((mask.shape[1], values.shape[4]), np.float32)
    lines, seen, _, _, place = room
    full, count = NONE, NONE
    for row in rows:
        g = find(mask[row], afresh[row], before[row], after[row], association, moved)
        if g == 0:
            continue
        c, tokens, columns = paired[row], moved[:g], 2 * g * heads
        leads = c < statistics.shape[1]
        if full + g > len(lines):
            conclude(full, count, asked, scores, model, room)
            full, count = NONE, NONE
        shares = all_shares[: levels * (REGIONS + regions + 1) * columns].reshape(levels, -1, columns)
        found = facts[: FOUND * columns].reshape(FOUND, columns)
        for level in range(levels):
            begin, end = starts[level], starts[level + 1]
            changed = space[: (end - begin) * columns].reshape(end - begin, columns)
            mass = other[: (end - begin) * columns].reshape(end - begin, columns)
            nodes_of, centers_of = region[row, c, begin:end], centers[row, c, begin:end]
            raw = logits[row, c]
            lay_out(tokens, raw, begin, sharpness[row, level], association, nodes_of, changed)
            survey(changed, nodes_of, centers_of, leads, mass, shares[level], found)
            if renewed[row, level]:
                divergence[row, c, level] += divergences(tokens, raw, begin, share[row], mass, found)
            if renewed[row, level] and leads:
                for f in range(OVERLAP):
                    differ(tokens, found[ENTROPY + f], pooling[row], statistics[row, c, level], f)
            weigh(tokens, begin, weight[row, :, :, level], mass, found[TOTAL], maps)
        gather(maps, values[row, c], gathered[:g], lines[full:])
        if leads:
            agree(tokens, renewed[row], agrees, shares, pooling[row], overlap[:columns], statistics[row, c])
        normalize(lines[full : full + g], model[0], model[1], model[2])
        for i in range(g):
            t = tokens[i]
            place[full, 0], place[full, 1], place[full, 2] = row, c, t
            place[full, 3] = count if numbers[row, t] else NONE - 1
            full += 1
            count += look_along(numbers[row, t], maps, i, first, evidence[row, c, t], seen[count])
    conclude(full, count, asked, scores, model, room)
