"""Which action a policy takes at one node, compiled: as in `selection.py`, `gumbel.py` and `qtransforms.py`.

The formulas and their sources are there; tests hold both to the same trees. The node's edges are `actions` in
number, from position `edge` on in the memory of the tree's tensors, as in `kernels.py`.
"""

from __future__ import annotations

import math

import numpy as np

from agents.search.kernels.jit import Pointer, inner, written_out

EPSILON = 1e-8
LEAST_LOGIT = -1e9
TINY = float(np.finfo(np.float32).tiny)


@inner
def uct(
    actions: int,
    edge: int,
    visits: Pointer,
    values: Pointer,
    prior: Pointer,
    low: float,
    high: float,
    exploration: float,
) -> int:
    """`selection.uct` at one node."""
    total = 1
    for a in range(edge, edge + actions):
        total += visits[a]
    log_total, spread = math.log(total), high - low
    untried, best = -1, 0
    first, highest = -math.inf, -math.inf
    for a in range(actions):
        count, preference = visits[edge + a], prior[edge + a]
        if count == 0:
            if preference > first:
                first, untried = preference, a
        else:
            score = exploration * math.sqrt(log_total / count)
            if spread > 0:
                score += (values[edge + a] - low) / spread
            if score > highest:
                highest, best = score, a
    return untried if untried >= 0 else best


@inner
def puct(
    actions: int,
    edge: int,
    visits: Pointer,
    values: Pointer,
    prior: Pointer,
    raw: float,
    init: float,
    base: float,
    out: Pointer,
) -> int:
    """`selection.puct` at one node."""
    total, earned = 1, 0.0
    for a in range(actions):
        total += visits[edge + a]
        earned += visits[edge + a] * values[edge + a]
        out[a] = prior[edge + a]
    own = (raw + earned) / total
    low = high = own
    for a in range(edge, edge + actions):
        if visits[a] > 0:
            value = values[a]
            low, high = value if value < low else low, value if value > high else high
    spread = high - low if high - low > EPSILON else EPSILON
    weight = math.sqrt(total) * (init + math.log((total + base + 1) / base)) / softmax(actions, out)
    best, highest = 0, -math.inf
    for a in range(actions):
        count = visits[edge + a]
        score = weight * out[a] / (count + 1)
        if count > 0:
            score += (values[edge + a] - low) / spread
        if score > highest and prior[edge + a] > -math.inf:
            highest, best = score, a
    return best


@written_out
def softmax(actions: int, logits: Pointer) -> float:
    """Replace logits by `exp(logits - top)` and return their sum."""
    top = logits[0]
    for a in range(1, actions):
        top = logits[a] if logits[a] > top else top
    mass = 0.0
    for a in range(actions):
        share = math.exp(logits[a] - top)
        logits[a] = share
        mass += share
    return mass


@inner
def improve(
    actions: int,
    edge: int,
    visits: Pointer,
    values: Pointer,
    prior: Pointer,
    raw: float,
    scale: float,
    init: float,
    out: Pointer,
) -> float:
    """Write logits plus `qtransforms.completed_by_mixed_value` to `out`; the highest logit."""
    top = prior[edge]
    for a in range(edge + 1, edge + actions):
        top = prior[a] if prior[a] > top else top
    total, most, untried = 0, 0, 0
    low, high = math.inf, -math.inf
    mass, mean = 0.0, 0.0
    for a in range(edge, edge + actions):
        count, value = visits[a], values[a]
        if count == 0:
            untried += 1
            continue
        weight = math.exp(prior[a] - top) + TINY
        mass += weight
        mean += weight * value
        low, high = value if value < low else low, value if value > high else high
        total, most = total + count, count if count > most else most
    mixed = (raw + total * (mean / mass)) / (1 + total) if total > 0 else raw
    if untried > 0:
        low, high = mixed if mixed < low else low, mixed if mixed > high else high
    unit = (init + most) * scale / (high - low if high - low > EPSILON else EPSILON)
    for a in range(actions):
        value = values[edge + a] if visits[edge + a] > 0 else mixed
        out[a] = prior[edge + a] + unit * (value - low)
    return top


@inner
def scheduled_visits(
    actions: int,
    edge: int,
    visits: Pointer,
    prior: Pointer,
    before: Pointer,
    table: Pointer,
    considered: int,
    simulations: int,
) -> int:
    """How often the action that a root tries now was tried before: sequential halving.

    `before` is the root's line; the table is `[considered + 1, simulations]`.
    """
    legal, fresh = 0, 0
    for a in range(actions):
        fresh += visits[edge + a] - before[a]
        if prior[edge + a] > -math.inf and legal < considered:
            legal += 1
    return table[legal * simulations + fresh]


@inner
def first_of(
    actions: int,
    edge: int,
    visits: Pointer,
    prior: Pointer,
    before: Pointer,
    wanted: int,
    noise: Pointer,
    top: float,
    out: Pointer,
) -> int:
    """The best of a root's actions with so many visits since `before`, from the improved logits `out`."""
    best, highest = 0, -math.inf
    for a in range(actions):
        if visits[edge + a] - before[a] == wanted and prior[edge + a] > -math.inf:
            score = noise[a] - top + out[a]
            score = score if score > LEAST_LOGIT else LEAST_LOGIT
            if score > highest:
                highest, best = score, a
    return best


@inner
def preferred(actions: int, edge: int, visits: Pointer, prior: Pointer) -> int:
    """The action of highest prior, or -1 if any was visited.

    It is what `lag` comes to at a node from which no walk has gone on, as from most.
    """
    best = 0
    for a in range(actions):
        if visits[edge + a] > 0:
            return -1
        if prior[edge + a] > prior[edge + best]:
            best = a
    return best


@inner
def lag(actions: int, edge: int, visits: Pointer, prior: Pointer, out: Pointer) -> int:
    """The selector of `gumbel.gumbel` below the root, from the improved logits `out`."""
    total = 1
    for a in range(edge, edge + actions):
        total += visits[a]
    mass = softmax(actions, out)
    best, highest = 0, -math.inf
    for a in range(actions):
        behind = out[a] / mass - visits[edge + a] / total
        if behind > highest and prior[edge + a] > -math.inf:
            highest, best = behind, a
    return best
