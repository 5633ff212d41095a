"""Weights of levels, heads and tokens, compiled for the CPU, and how far they are from what they were."""

from __future__ import annotations

import math

import numpy as np

from envs.attention.kernels.jit import Array, entry, inner

F = np.float32


@inner
def soften(logits: Array, change: Array, out: Array) -> np.float32:
    """Softmax of logits plus their change to `out`, all `[n]`; the logarithm of the sum that it divides by.

    Logits may be minus infinity, but not all of them.
    """
    top, total = F(-math.inf), F(0)
    for j in range(len(logits)):
        top = max(top, logits[j] + change[j])
    for j in range(len(logits)):
        out[j] = math.exp(logits[j] + change[j] - top)
    for j in range(len(logits)):  # not above: beside a store, the order of a sum depends on where arrays lie
        total += out[j]
    for j in range(len(logits)):
        out[j] /= total
    return top + F(math.log(total))


@inner
def kl(logits: Array, change: Array, none: Array, room: Array) -> np.float32:
    """KL(softmax(logits + change) ‖ softmax(logits)) in nats, `[n]` each.

    `none` are as many zeros, and `room` is written to. The logarithm of the ratio of the two is the change
    but for a constant, so that no change is no divergence, whatever the rounding.
    """
    changed = False
    for j in range(len(change)):
        changed |= change[j] != F(0)
    if not changed:
        return F(0)
    initial = soften(logits, none, room)
    now = soften(logits, change, room)
    mean = F(0)
    for j in range(len(logits)):
        mean += room[j] * change[j]
    return mean + initial - now


@entry
def diverge(
    mask: Array,
    gate_logits: Array,
    level: Array,
    token_logits: Array,
    token: Array,
    head_logits: Array,
    head: Array,
    out: Array,
) -> None:
    """See `Evaluator.divergence`, of which what the maps add is there.

    Args:
        mask: Real tokens, bool `[B, T]`.
        gate_logits: `[B, T, L]`.
        level: Their change, `[B, L]`.
        token_logits: `[B, T]`.
        token: Their change, `[B, T]`.
        head_logits: `[L, H]`.
        head: Their change, `[B, L, H]`.
        out: Added to, `[B]`.
    """
    tokens, levels = token.shape[1], level.shape[1]
    longest = max(tokens, levels, head.shape[2])
    none, room = np.zeros(longest, np.float32), np.empty(longest, np.float32)
    for row in range(len(out)):
        gates, real = F(0), 0
        for t in range(tokens):
            if mask[row, t]:
                gates += kl(gate_logits[row, t], level[row], none, room)
                real += 1
        result = gates / F(max(real, 1)) + kl(token_logits[row], token[row], none, room)
        for i in range(levels):
            result += kl(head_logits[i], head[row, i], none, room) / F(levels)
        out[row] += result


@entry
def weigh(gate_logits: Array, level: Array, head_logits: Array, head: Array, out: Array) -> None:
    """How much what levels and heads gather counts, see `HierarchicalAttentionFusion.weigh`.

    Args:
        gate_logits: `[B, T, L]`.
        level: Their change, `[B, L]`.
        head_logits: `[L, H]`.
        head: Their change, `[B, L, H]`.
        out: Written to, `[B, H, T, L]`.
    """
    levels, heads = head_logits.shape
    gates, shares = np.empty(levels, np.float32), np.empty((levels, heads), np.float32)
    for row in range(len(out)):
        for i in range(levels):
            soften(head_logits[i], head[row, i], shares[i])
        for t in range(out.shape[2]):
            soften(gate_logits[row, t], level[row], gates)
            for h in range(heads):
                for i in range(levels):
                    out[row, h, t, i] = gates[i] * shares[i, h] * F(heads)
