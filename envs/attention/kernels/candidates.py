"""Scores of all candidates, compiled for the CPU: what `incremental` does with tensors, in plain loops.

Between two matrix products there are a dozen passes over a few hundred kilobytes, each of which is an
operation of its own with tensors; here some candidates of one row are finished while they lie in the cache,
and padding is left out. What a token is aligned with is a line.

Sums may be added up in another order than they are written in, so that they can be vectorized.
"""

from __future__ import annotations

import math

import numpy as np

from envs.attention.kernels.arrays import Array, UpdateArrays
from envs.attention.kernels.jit import entry, once
from envs.attention.kernels.statistics import exponentials
from envs.attention.kernels.token_scores import ScoreArrays, evidence_along, score_lines, score_room

F = np.float32
CANDIDATES = 32
"""Candidates of a row that are evaluated together: their lines stay in a core's own cache."""
NONE = np.int64(0)


@once
def gather(
    tokens: int,
    begin: int,
    end: int,
    logits: Array,
    values: Array,
    sharpness: float,
    weight: Array,
    share: Array,
    log_sums: Array,
    maps: Array,
    totals: Array,
    gathered: Array,
    more: bool,
    lines: Array,
    place: int,
) -> np.float32:
    """Weighed attention output of one level of one candidate, written or added to its lines, one a token.

    Args:
        tokens: How many of the `T` are worked out.
        begin: The level's first node.
        end: The next level's.
        logits: `[H, T, N]`.
        values: `[H, N, d]`.
        sharpness: Of the level.
        weight: Of the level and its heads, `[H, T]`.
        share: How much each token counts in KL, `[T]`.
        log_sums: Before any change, `[H, T]`.
        maps: Room for `tokens * (end - begin)` numbers.
        totals: Room for `[T]`.
        gathered: Room for `[T, d]`.
        more: Add to the lines.
        lines: Of several candidates, `[tokens or more, block, D]`.
        place: Of the candidate among them.

    Returns:
        KL from the maps before any change.
    """
    divergence, width, size = F(0), gathered.shape[1], end - begin
    maps = maps[: tokens * size].reshape(tokens, size)
    for h in range(len(logits)):
        for t in range(tokens):
            total, mean = exponentials(logits[h, t, begin:end], sharpness, maps[t])
            # The logarithm of a map is `sharpness * logits - log(total)`, of the initial one `logits -
            # log_sums`: the mean of the logits under the map is all that KL takes.
            kl = mean / total * (sharpness - F(1)) - F(math.log(total)) + log_sums[h, t]
            divergence += share[t] * kl
            totals[t] = total
        np.dot(maps, values[h, begin:end], gathered[:tokens])
        for t in range(tokens):
            line = lines[t, place, h * width : (h + 1) * width]
            mix(gathered[t], weight[h, t] / totals[t], line, more)
    return divergence / F(len(logits))


@once
def mix(gathered: Array, weight: float, line: Array, more: bool) -> None:
    """Write or add what one level and head has gathered for a token, weighed: both `[d]`."""
    if more:
        for k in range(len(line)):
            line[k] += gathered[k] * weight
    else:
        for k in range(len(line)):
            line[k] = gathered[k] * weight


@once
def mix_heads(gathered: Array, share: Array, line: Array, more: bool) -> None:
    """The same of all heads at once, whose weights are repeated for each feature: all `[D]`."""
    if more:
        for k in range(len(line)):
            line[k] += gathered[k] * share[k]
    else:
        for k in range(len(line)):
            line[k] = gathered[k] * share[k]


@once
def mix_levels(
    tokens: int,
    c: int,
    gathers: Array,
    gathered: Array,
    shares: Array,
    more: bool,
    lines: Array,
    place: int,
) -> None:
    """The same of all tokens and of all levels that need not gather anew.

    Args:
        tokens: How many of the `T`.
        c: The candidate.
        gathers: Levels that gather anew, bool `[L]`.
        gathered: `[L, C, T, D]`.
        shares: `[L, T, D]`.
        more: Add to the lines.
        lines: Of several candidates, `[tokens or more, block, D]`.
        place: Of the candidate among them.
    """
    if len(gathers) == 3 and not (gathers[0] or gathers[1] or gathers[2]):  # the usual case, in one pass
        for t in range(tokens):
            one, two, three = gathered[0, c, t], gathered[1, c, t], gathered[2, c, t]
            first, second, third = shares[0, t], shares[1, t], shares[2, t]
            line = lines[t, place]
            for k in range(len(line)):
                line[k] = one[k] * first[k] + two[k] * second[k] + three[k] * third[k]
        return
    for level in range(len(gathers)):
        if not gathers[level]:
            for t in range(tokens):
                mix_heads(gathered[level, c, t], shares[level, t], lines[t, place], more)
            more = True


@once
def evidence_on_number(
    t: int,
    first: int,
    begin: int,
    logits: Array,
    sharpness: float,
    weight: Array,
    axis: int,
    evidence: Array,
    maps: Array,
    out: Array,
) -> None:
    """Evidence on one number, under the maps of the coarsest level of some candidates.

    Args:
        t: The token.
        first: The first of the candidates.
        begin: The first node of the coarsest level.
        logits: `[C, H, T, N]`.
        sharpness: Of the coarsest level.
        weight: `[H, T, L]`.
        axis: Where the first axis is among its nodes.
        evidence: `[C, T, 3, E]`.
        maps: Room for as many numbers as it has nodes.
        out: Of as many candidates as there are, `[n, H * E]`.
    """
    width = evidence.shape[3]
    for i in range(len(out)):
        for h in range(logits.shape[1]):
            total, _ = exponentials(logits[first + i, h, t, begin:], sharpness, maps)
            axes = maps[axis : axis + 3]
            for j in range(3):
                axes[j] *= weight[h, t, -1] / total
            evidence_along(axes, evidence[first + i, t], out[i, h * width : (h + 1) * width])


@once
def repeat(weight: Array, tokens: int, width: int, out: Array) -> None:
    """Weights `[H, T, L]` of the heads, for each of their `width` features: `out` `[L, T, D]`."""
    for level in range(weight.shape[2]):
        for t in range(tokens):
            for h in range(len(weight)):
                for k in range(h * width, (h + 1) * width):
                    out[level, t, k] = weight[h, t, level]


@entry
def score_all_candidates(rows: Array, arrays: UpdateArrays, weights: ScoreArrays) -> None:
    """Scores of all real tokens against all candidates of some rows, as if there were no association.

    Args:
        rows: i64 `[b]`.
        arrays: See there; divergence of the levels that are renewed and token scores are written to.
        weights: Parameters of the score.
    """
    starts, gathers = arrays.starts, arrays.gathers
    levels, (_, count, heads, tokens, nodes) = len(starts) - 1, arrays.logits.shape
    width, wide, block = arrays.node_values.shape[4], arrays.gathered.shape[4], min(count, CANDIDATES)
    lines, shares = np.empty((tokens, block, wide), np.float32), np.empty((levels, tokens, wide), np.float32)
    maps = np.empty(tokens * nodes, np.float32)
    fresh, totals = np.empty((tokens, width), np.float32), np.empty(tokens, np.float32)
    along = np.empty((block, heads * arrays.evidence.shape[4]), np.float32)
    room = score_room(block, weights)
    for row in rows:
        length, weight, sharpness = arrays.length[row], arrays.weight[row], arrays.sharpness[row]
        repeat(weight, length, width, shares)
        for number in range((count + block - 1) // block):
            first = number * block
            size = min(block, count - first)
            for i in range(size):
                c, more = first + i, False
                for level in range(levels):
                    if gathers[row, level]:
                        kl = gather(
                            length, starts[level], starts[level + 1], arrays.logits[row, c],
                            arrays.node_values[row, c], sharpness[level], weight[:, :, level],
                            arrays.share[row], arrays.log_sums[row, level, c], maps, totals, fresh, more,
                            lines, i,
                        )  # fmt: skip
                        more = True
                        if arrays.renewed[row, level]:
                            arrays.divergence[row, c, level] = kl
                mix_levels(length, c, gathers[row], arrays.gathered[row], shares, more, lines, i)
            for t in range(length):
                known = NONE
                if arrays.numbers[row, t]:
                    known = size
                    evidence_on_number(
                        t, first, starts[levels - 1], arrays.logits[row], sharpness[levels - 1], weight,
                        arrays.axis, arrays.evidence[row], maps, along[:size],
                    )  # fmt: skip
                out = arrays.token_scores[row, first : first + size, t]
                score_lines(arrays.token_queries[row, t], lines[t, :size], along[:known], weights, room, out)
