"""Observations, compiled for the CPU: as `observation.observe`, row by row, not in many small operations."""

from __future__ import annotations

import math

import numpy as np

from envs.jit import Array, entry, inner
from envs.kernels_weights import soften

F = np.float32
SMALLEST = F(1e-12)


@inner
def entropy(probability: Array) -> np.float32:
    """Entropy of `[n]`, relative to that of a uniform distribution."""
    result = F(0)
    for j in range(len(probability)):
        result -= probability[j] * F(math.log(max(probability[j], SMALLEST)))
    return result / F(math.log(max(len(probability), 2)))


@inner
def squash(value: np.float32) -> np.float32:
    """From [0, ∞) to [0, 1)."""
    return value / (F(1) + value)


@inner
def tell_scores(score: Array, before: Array, leading: int, room: Array, out: Array) -> int:
    """`SCORE_FEATURES` and the leading candidates' probabilities, see `observation`; how many they are.

    Args:
        score: `[C]`.
        before: `[C]`.
        leading: How many probabilities.
        room: Room for `[C]`.
        out: Written to.
    """
    none = np.zeros_like(score)
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
def tell_statistics(statistics: Array, out: Array) -> int:
    """Statistics `[K, L, H, F]`, mean over candidates; how many they are."""
    count = statistics[0].size
    flat = statistics.reshape(len(statistics), count)
    out[:count] = F(0)
    for c in range(len(flat)):
        for i in range(count):
            out[i] += flat[c, i] / F(len(flat))
    return count


@inner
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
    real = max(mask.sum(), 1)
    out[: levels + groups] = F(0)
    for t in range(len(mask)):
        if mask[t]:
            soften(gate_logits[t], level, room[:levels])
            for i in range(levels):
                out[i] += room[i] / F(real)
    weights = room[: len(mask)]
    soften(token_logits, token, weights)
    for k in range(groups):
        for t in range(len(mask)):
            out[levels + k] += group[k, t] * weights[t]
    out[levels + groups] = entropy(weights)
    return levels + groups + 1


@inner
def tell_changes(
    level: Array,
    temperature: Array,
    head: Array,
    token: Array,
    association: Array,
    group: Array,
    limit: float,
    out: Array,
) -> int:
    """Changes so far in units of the limit, and which groups there are; how many numbers that is.

    Args:
        level: `[L]`.
        temperature: `[L]`.
        head: `[L, H]`.
        token: `[T]`.
        association: `[T, R]`.
        group: `[K, T]`.
        limit: The unit.
        out: Written to.
    """
    groups, regions, i = len(group), association.shape[1], 0
    for value in level:
        out[i] = value / limit
        i += 1
    for value in temperature:
        out[i] = value / limit
        i += 1
    for value in head.reshape(head.size):
        out[i] = value / limit
        i += 1
    tokens, groups_of, regions_of = out[i:], out[i + groups :], out[i + 2 * groups :]
    exists = out[i + 2 * groups + regions :]
    regions_of[:regions] = F(0)
    for k in range(groups):
        size, own, total = F(0), F(0), F(0)
        exists[k] = F(0)
        for t in range(group.shape[1]):
            size += group[k, t]
            exists[k] = max(exists[k], group[k, t])
        part = F(1) / (max(size, F(1)) * limit)
        for t in range(group.shape[1]):
            if group[k, t] != F(0):
                own += group[k, t] * token[t] * part
                for r in range(regions):
                    more = group[k, t] * association[t, r] * part
                    total += more
                    regions_of[r] += more / F(groups)
        tokens[k], groups_of[k] = own, total / F(regions)
    return i + 3 * groups + regions


@entry
def tell(
    mask: Array,
    gate_logits: Array,
    token_logits: Array,
    group: Array,
    before: Array,
    score: Array,
    statistics: Array,
    level: Array,
    temperature: Array,
    head: Array,
    token: Array,
    association: Array,
    divergence: Array,
    steps_left: Array,
    leading: int,
    limit: float,
    bound: float,
    out: Array,
) -> None:
    """See `observation.observe`.

    Args:
        mask: bool `[B, T]`.
        gate_logits: `[B, T, L]`.
        token_logits: `[B, T]`.
        group: `[B, K, T]`.
        before: Scores before any change, `[B, C]`.
        score: `[B, C]`.
        statistics: `[B, leading, L, H, F]`.
        level: `[B, L]`.
        temperature: `[B, L]`.
        head: `[B, L, H]`.
        token: `[B, T]`.
        association: `[B, T, R]`.
        divergence: `[B]`.
        steps_left: `[B]`.
        leading: Candidates whose probabilities are told.
        limit: Largest change of an entry.
        bound: What observations are clamped to.
        out: Written to, `[B, O]`.
    """
    unit = F(limit)
    room = np.empty(max(mask.shape[1], level.shape[1]), np.float32)
    probability = np.empty(score.shape[1], np.float32)
    for row in range(len(out)):
        line = out[row]
        i = tell_statistics(statistics[row], line)
        i += tell_weights(
            mask[row], gate_logits[row], level[row], token_logits[row], token[row], group[row], room, line[i:]
        )
        i += tell_scores(score[row], before[row], leading, probability, line[i:])
        i += tell_changes(
            level[row], temperature[row], head[row], token[row], association[row], group[row], unit, line[i:]
        )
        line[i], line[i + 1] = squash(divergence[row]), steps_left[row]
        for j in range(len(line)):
            line[j] = min(max(line[j], -F(bound)), F(bound))
