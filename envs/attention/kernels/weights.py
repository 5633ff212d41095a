"""Weights of levels and heads, compiled for the CPU."""

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
