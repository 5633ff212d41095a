"""Observations, compiled for the CPU: as `observation.observe`, row by row, not in many small operations."""

from __future__ import annotations

import math

import numpy as np

from envs.attention.kernels.jit import Array, entry, inner, once
from envs.attention.kernels.weights import soften

F = np.float32
SMALLEST = F(1e-12)


@inner
def entropy(probability: Array) -> np.float32:
    """Entropy of `[n]`, relative to that of a uniform distribution."""
    result = F(0)
    for j in range(len(probability)):
        result -= probability[j] * F(math.log(max(probability[j], SMALLEST)))
    return result / F(math.log(max(len(probability), 2)))


@once
def squash(value: np.float32) -> np.float32:
    """From [0, ∞) to [0, 1)."""
    return value / (F(1) + value)


@once
def tell_scores(score: Array, before: Array, leading: int, room: Array, out: Array) -> int:
    """`SCORE_FEATURES` and the leading candidates' probabilities, see `observation`; how many they are.

    Args:
        score: `[C]`.
        before: `[C]`.
        leading: How many probabilities.
        room: Room for `[C]`.
        out: Written to.
    """
    none = np.zeros(len(score), np.float32)
    soften(before, none, room)
    out[5] = entropy(room)
    soften(score, none, room)
    first, second, mean, square, top = F(-math.inf), F(-math.inf), F(0), F(0), F(0)
    for j in range(len(score)):
        second = max(second, min(first, score[j]))
        first = max(first, score[j])
        top = max(top, room[j])
        mean += score[j] / F(len(score))
    if len(score) == 1:
        second = first
    for j in range(len(score)):
        square += (score[j] - mean) * (score[j] - mean)
    out[0], out[1] = entropy(room), top
    out[2], out[3] = squash(first - second), squash(first - mean)
    out[4] = squash(F(math.sqrt(square / F(len(score)))))
    for j in range(leading):
        out[6 + j] = room[j] if j < len(room) else F(0)
    return 6 + leading


@inner
def copy(values: Array, out: Array) -> int:
    """Values that are known, `[n]`; how many they are."""
    for i in range(len(values)):
        out[i] = values[i]
    return len(values)


@once
def tell_weights(
    mask: Array,
    gate_logits: Array,
    level: Array,
    token_logits: Array,
    token: Array,
    group: Array,
    room: Array,
    out: Array,
) -> int:
    """Gates `[L]`, weights of token groups `[K]`, and the entropy of the tokens'; how many they are.

    Args:
        mask: bool `[T]`.
        gate_logits: `[T, L]`.
        level: `[L]`.
        token_logits: `[T]`.
        token: `[T]`.
        group: `[K, T]`.
        room: Room for as many numbers as there are tokens, or levels.
        out: Written to.
    """
    levels, groups = len(level), len(group)
    real = 0
    for t in range(len(mask)):
        real += mask[t]
    out[: levels + groups] = F(0)
    for t in range(len(mask)):
        if mask[t]:
            soften(gate_logits[t], level, room[:levels])
            for i in range(levels):
                out[i] += room[i] / F(max(real, 1))
    weights = room[: len(mask)]
    soften(token_logits, token, weights)
    for k in range(groups):
        for t in range(len(mask)):
            out[levels + k] += group[k, t] * weights[t]
    out[levels + groups] = entropy(weights)
    return levels + groups + 1


@once
def tell_groups(token: Array, association: Array, group: Array, limit: float, out: Array) -> int:
    """Changes of groups of tokens in units of the limit, and which there are; how many numbers that is.

    Args:
        token: `[T]`.
        association: `[T, R]`.
        group: `[K, T]`.
        limit: The unit.
        out: Written to.
    """
    groups, regions = len(group), association.shape[1]
    share = F(1) / F(groups)
    regions_of = out[2 * groups : 2 * groups + regions]
    regions_of[:] = F(0)
    for k in range(groups):
        size, own, total, exists = F(0), F(0), F(0), F(0)
        for t in range(len(token)):
            size += group[k, t]
            exists = max(exists, group[k, t])
        part = F(1) / (max(size, F(1)) * limit)
        for t in range(len(token)):
            amount = group[k, t] * part
            if amount != F(0):
                own += amount * token[t]
                for r in range(regions):
                    more = amount * association[t, r]
                    total += more
                    regions_of[r] += more * share
        out[k], out[groups + k], out[2 * groups + regions + k] = own, total / F(regions), exists
    return 3 * groups + regions


@entry
def tell(
    mask: Array,
    gate_logits: Array,
    token_logits: Array,
    group: Array,
    before: Array,
    score: Array,
    statistics: Array,
    changes: Array,
    level: Array,
    token: Array,
    association: Array,
    divergence: Array,
    steps_left: Array,
    leading: int,
    limit: float,
    out: Array,
) -> None:
    """See `observation.observe`, but for the bound.

    Args:
        mask: bool `[B, T]`.
        gate_logits: `[B, T, L]`.
        token_logits: `[B, T]`.
        group: `[B, K, T]`.
        before: Scores before any change, `[B, C]`.
        score: `[B, C]`.
        statistics: Mean over the leading candidates, `[B, L * H * F]`.
        changes: Of levels, temperatures and heads, in units of the limit, `[B, L + L + L * H]`.
        level: `[B, L]`.
        token: `[B, T]`.
        association: `[B, T, R]`.
        divergence: `[B]`.
        steps_left: `[B]`.
        leading: Candidates whose probabilities are told.
        limit: Largest change of an entry.
        out: Written to, `[B, O]`.
    """
    unit = F(limit)
    room = np.empty(max(mask.shape[1], level.shape[1]), np.float32)
    probability = np.empty(score.shape[1], np.float32)
    for row in range(len(out)):
        line = out[row]
        i = copy(statistics[row], line)
        i += tell_weights(
            mask[row], gate_logits[row], level[row], token_logits[row], token[row], group[row], room, line[i:]
        )
        i += tell_scores(score[row], before[row], leading, probability, line[i:])
        i += copy(changes[row], line[i:])
        i += tell_groups(token[row], association[row], group[row], unit, line[i:])
        line[i], line[i + 1] = squash(divergence[row]), steps_left[row]
