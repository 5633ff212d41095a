"""Compiled selectors of the policies, at one node.

The formulas are those of ``ucb.py``, ``gumbel.py`` and ``qtransforms.py``, which name their sources; tests
hold both to the same trees. A node's edges are rows `[A]` of the tree's arrays: ``visits``, ``values`` (mean
returns) and ``prior`` (logits, ``-inf`` where illegal).
"""

from __future__ import annotations

import math

import numpy as np

from agents.search.kernels.arrays import Array
from agents.search.kernels.jit import device

EPSILON = 1e-8
LEAST_LOGIT = -1e9
TINY = float(np.finfo(np.float32).tiny)


@device
def uct(visits: Array, values: Array, prior: Array, low: float, high: float, exploration: float) -> int:
    """Apply the selector of ``ucb.uct``."""
    total = 1
    for a in range(len(visits)):
        total += visits[a]
    log_total, spread = math.log(total), high - low
    untried, best = -1, 0
    preferred, highest = -math.inf, -math.inf
    for a in range(len(visits)):
        if visits[a] == 0:
            if prior[a] > preferred:
                preferred, untried = prior[a], a
        else:
            score = exploration * math.sqrt(log_total / visits[a])
            if spread > 0:
                score += (values[a] - low) / spread
            if score > highest:
                highest, best = score, a
    return untried if untried >= 0 else best


@device
def puct(
    visits: Array, values: Array, prior: Array, raw_value: float, init: float, base: float, scratch: Array
) -> int:
    """Apply the selector of ``ucb.puct``."""
    total, earned = 1, 0.0
    for a in range(len(visits)):
        total += visits[a]
        earned += visits[a] * values[a]
        scratch[a] = prior[a]
    own = (raw_value + earned) / total
    low = high = own
    for a in range(len(visits)):
        if visits[a] > 0:
            low, high = min(values[a], low), max(values[a], high)
    spread = max(high - low, EPSILON)
    weight = math.sqrt(total) * (init + math.log((total + base + 1) / base)) / exponentials(scratch)
    best, highest = 0, -math.inf
    for a in range(len(visits)):
        score = weight * scratch[a] / (visits[a] + 1)
        if visits[a] > 0:
            score += (values[a] - low) / spread
        if score > highest and prior[a] > -math.inf:
            highest, best = score, a
    return best


@device
def exponentials(logits: Array) -> float:
    """Replace logits `[A]` by ``exp(logits - top)`` and return their sum."""
    top = logits[0]
    for a in range(1, len(logits)):
        top = max(logits[a], top)
    mass = 0.0
    for a in range(len(logits)):
        logits[a] = math.exp(logits[a] - top)
        mass += logits[a]
    return mass


@device
def improve(
    visits: Array, values: Array, prior: Array, raw_value: float, scale: float, init: float, improved: Array
) -> float:
    """Write logits plus ``qtransforms.completed_by_mixed_value`` to ``improved`` `[A]`.

    Returns:
        The highest logit.
    """
    top = prior[0]
    for a in range(1, len(prior)):
        top = max(prior[a], top)
    total, most, untried = 0, 0, 0
    low, high = math.inf, -math.inf
    mass, mean = 0.0, 0.0
    for a in range(len(visits)):
        if visits[a] == 0:
            untried += 1
            continue
        weight = math.exp(prior[a] - top) + TINY
        mass += weight
        mean += weight * values[a]
        low, high = min(values[a], low), max(values[a], high)
        total, most = total + visits[a], max(visits[a], most)
    mixed = (raw_value + total * (mean / mass)) / (1 + total) if total > 0 else raw_value
    if untried > 0:
        low, high = min(mixed, low), max(mixed, high)
    unit = (init + most) * scale / max(high - low, EPSILON)
    for a in range(len(visits)):
        completed = values[a] if visits[a] > 0 else mixed
        improved[a] = prior[a] + unit * (completed - low)
    return top


@device
def sequential_halving(
    visits: Array, before: Array, prior: Array, noise: Array, visits_table: Array, top: float, improved: Array
) -> int:
    """Apply the selector of ``gumbel.gumbel`` at a root, given the improved logits and the highest logit."""
    legal, simulation = 0, 0
    for a in range(len(visits)):
        simulation += visits[a] - before[a]
        legal += prior[a] > -math.inf
    wanted = visits_table[min(legal, len(visits_table) - 1), simulation]
    best, highest = 0, -math.inf
    for a in range(len(visits)):
        if visits[a] - before[a] == wanted and prior[a] > -math.inf:
            score = max(noise[a] - top + improved[a], LEAST_LOGIT)
            if score > highest:
                highest, best = score, a
    return best


@device
def largest_lag(visits: Array, prior: Array, improved: Array) -> int:
    """Apply the selector of ``gumbel.gumbel`` below the root; the improved logits are overwritten."""
    total = 1
    for a in range(len(visits)):
        total += visits[a]
    mass = exponentials(improved)
    best, highest = 0, -math.inf
    for a in range(len(visits)):
        lag = improved[a] / mass - visits[a] / total
        if lag > highest and prior[a] > -math.inf:
            highest, best = lag, a
    return best
