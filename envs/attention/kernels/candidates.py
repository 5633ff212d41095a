"""Re-evaluation compiled for the CPU: what `reevaluation.py` does with tensors, row by row in plain loops.

Between two matrix products there are a dozen passes over a few hundred kilobytes, each of which is an
operation of its own with tensors; here some candidates of one row are finished while they lie in the cache,
and padding is left out. What a token is aligned with is a line; `kernels_verdicts.py`, which see for `model`,
makes verdicts of them. Associations are in `kernels_paired.py`, statistics in `kernels_statistics.py`.

Sums may be added up in another order than they are written in, so that they can be vectorised.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from envs.attention.kernels.jit import Array, entry, inner, once
from envs.attention.kernels.token_scores import add_measured, narrow, normalize, sum_up

F = np.float32
CANDIDATES = 32
"""Candidates of a row that are evaluated together: their lines stay in a core's own cache."""
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
    """What one level of one candidate gathers, weighed, written or added to its lines, one a token.

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
    again: Array,
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
        again: bool `[L]`.
        gathered: `[L, C, T, D]`.
        shares: `[L, T, D]`.
        more: Add to the lines.
        lines: Of several candidates, `[tokens or more, block, D]`.
        place: Of the candidate among them.
    """
    if len(again) == 3 and not (again[0] or again[1] or again[2]):  # the usual case, in one pass
        for t in range(tokens):
            one, two, three = gathered[0, c, t], gathered[1, c, t], gathered[2, c, t]
            first, second, third = shares[0, t], shares[1, t], shares[2, t]
            line = lines[t, place]
            for k in range(len(line)):
                line[k] = one[k] * first[k] + two[k] * second[k] + three[k] * third[k]
        return
    for level in range(len(again)):
        if not again[level]:
            for t in range(tokens):
                mix_heads(gathered[level, c, t], shares[level, t], lines[t, place], more)
            more = True


@inner
def look(axes: Array, evidence: Array, out: Array) -> None:
    """Evidence `[3, E]` along the axes that one head looks at, `[3]`: `out` `[E]`."""
    for e in range(len(out)):
        out[e] = axes[0] * evidence[0, e] + axes[1] * evidence[1, e] + axes[2] * evidence[2, e]


@once
def look_about(
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
            look(axes, evidence[first + i, t], out[i, h * width : (h + 1) * width])


@once
def repeat(weight: Array, tokens: int, width: int, out: Array) -> None:
    """Weights `[H, T, L]` of the heads, for each of their `width` features: `out` `[L, T, D]`."""
    for level in range(weight.shape[2]):
        for t in range(tokens):
            for h in range(len(weight)):
                for k in range(h * width, (h + 1) * width):
                    out[level, t, k] = weight[h, t, level]


@entry
def every(
    rows: Array,
    # the layout
    starts: Array,
    axis: int,
    # of rows `[B, ...]`
    length: Array,
    again: Array,
    renewed: Array,
    sharpness: Array,
    weight: Array,
    share: Array,
    numbers: Array,
    logits: Array,
    values: Array,
    evidence: Array,
    gathered: Array,
    log_sums: Array,
    asked: Array,
    # written to
    divergence: Array,
    scores: Array,
    model: tuple[Any, ...],
) -> None:
    """Verdicts on all real tokens by all candidates of `rows`, as if there were no association.

    Args:
        rows: i64 `[b]`.
        starts: The first node of each level, and the end, i64 `[L + 1]`.
        axis: Where the first axis is among the coarsest level's nodes.
        length: Tokens up to the last real one, i64 `[B]`.
        again: Levels that gather anew, bool `[B, L]`; the others gather what they did before any change.
        renewed: Levels whose KL is written, out of those, bool `[B, L]`.
        sharpness: `[B, L]`.
        weight: `[B, H, T, L]`.
        share: How much each token counts in KL, `[B, T]`.
        numbers: bool `[B, T]`.
        logits: `[B, C, H, T, N]`, at most 0.
        values: `[B, C, H, N, d]`.
        evidence: `[B, C, T, 3, E]`.
        gathered: `[B, L, C, T, D]`.
        log_sums: `[B, L, C, H, T]`.
        asked: `[B, T, 3 D_pair]`.
        divergence: `[B, C, L]`.
        scores: `[B, C, T]`.
        model: See `kernels_verdicts.py`.
    """
    levels, (_, count, _, tokens, nodes) = len(starts) - 1, logits.shape
    width, wide, pair, block = values.shape[4], len(model[3]), len(model[7]), min(count, CANDIDATES)
    gain, shift, epsilon, to_measure, relu, plain = model[0], model[1], model[2], model[5], model[7], model[8]
    lines, shares = np.empty((tokens, block, wide), np.float32), np.empty((levels, tokens, wide), np.float32)
    maps = np.empty(tokens * nodes, np.float32)
    fresh, totals = np.empty((tokens, width), np.float32), np.empty(tokens, np.float32)
    matrix, straight = np.empty((wide, pair), np.float32), np.empty(wide, np.float32)
    offset, projected = np.empty(pair, np.float32), np.empty((block, pair), np.float32)
    seen, measured = np.empty((block, len(to_measure)), np.float32), np.empty((block, pair), np.float32)
    for row in rows:
        repeat(weight[row], length[row], width, shares)
        for number in range((count + block - 1) // block):
            first = number * block
            size = min(block, count - first)
            for i in range(size):
                c, more = first + i, False
                for level in range(levels):
                    if again[row, level]:
                        kl = gather(
                            length[row], starts[level], starts[level + 1], logits[row, c], values[row, c],
                            sharpness[row, level], weight[row, :, :, level], share[row],
                            log_sums[row, level, c], maps, totals, fresh, more, lines, i,
                        )  # fmt: skip
                        more = True
                        if renewed[row, level]:
                            divergence[row, c, level] = kl
                mix_levels(length[row], c, again[row], gathered[row], shares, more, lines, i)
            for t in range(length[row]):
                constant = narrow(asked[row, t], model, matrix, offset, straight)
                normalize(lines[t, :size], gain, shift, epsilon)
                np.dot(lines[t, :size], matrix, projected[:size])
                out = scores[row, first:, t]
                for i in range(size):
                    out[i] = constant
                if numbers[row, t]:
                    look_about(
                        t, first, starts[levels - 1], logits[row], sharpness[row, levels - 1], weight[row],
                        axis, evidence[row], maps, seen[:size],
                    )  # fmt: skip
                    np.dot(seen[:size], to_measure, measured[:size])
                    add_measured(asked[row, t, 2 * pair :], measured[:size], plain, projected, out)
                sum_up(lines[t, :size], straight, projected, offset, relu, out)
