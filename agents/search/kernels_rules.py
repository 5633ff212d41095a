"""Which action a policy takes at one node, compiled: as in `selection.py`, `gumbel.py` and `qtransforms.py`.

The formulas and their sources are there; tests hold both to the same trees. Node `at` is a line of the arrays
`[B * N, A]`, as in `kernels.py`.
"""

from __future__ import annotations

import math

import numpy as np

from agents.search.jit import Array, inlined, inner

EPSILON = 1e-8
LEAST_LOGIT = -1e9
TINY = float(np.finfo(np.float32).tiny)


@inlined
def choose(
    b: int,
    at: int,
    is_root: bool,
    visits: Array,
    values: Array,
    prior: Array,
    raw: float,
    low: float,
    high: float,
    before: Array,
    uct_rule: Array | None,
    puct_rule: Array | None,
    gumbel_rule: Array | None,
    noise: Array,
    table: Array,
    out: Array,
) -> int:
    """The action that the policy takes at one node."""
    rule = 0 if is_root else 1
    a = 0
    if uct_rule is not None:
        a = uct(visits, values, prior, at, low, high, uct_rule[rule, 0])
    if puct_rule is not None:
        a = puct(visits, values, prior, at, raw, puct_rule[rule, 0], puct_rule[rule, 1], out)
    if gumbel_rule is not None:
        scale, init = gumbel_rule[rule, 0], gumbel_rule[rule, 1]
        if is_root:
            improve(visits, values, prior, at, raw, scale, init, out)
            wanted = due(visits, prior, at, before, table, b)
            a = first_of(visits, prior, at, before, wanted, noise, b, out)
        else:
            a = lag(visits, values, prior, at, raw, scale, init, out)
    return a


@inner
def uct(
    visits: Array, values: Array, prior: Array, at: int, low: float, high: float, exploration: float
) -> int:
    """`selection.uct` at one node."""
    total = 1
    for a in range(visits.shape[1]):
        total += visits[at, a]
    log_total, spread = math.log(total), high - low
    untried, best = -1, 0
    first, highest = -math.inf, -math.inf
    for a in range(visits.shape[1]):
        count, preference = visits[at, a], prior[at, a]
        if count == 0:
            if preference > first:
                first, untried = preference, a
        else:
            score = exploration * math.sqrt(log_total / count)
            if spread > 0:
                score += (values[at, a] - low) / spread
            if score > highest:
                highest, best = score, a
    return untried if untried >= 0 else best


@inner
def puct(
    visits: Array, values: Array, prior: Array, at: int, raw: float, init: float, base: float, out: Array
) -> int:
    """`selection.puct` at one node."""
    total, earned = 1, 0.0
    for a in range(visits.shape[1]):
        total += visits[at, a]
        earned += visits[at, a] * values[at, a]
        out[a] = prior[at, a]
    own = (raw + earned) / total
    low = high = own
    for a in range(visits.shape[1]):
        if visits[at, a] > 0:
            value = values[at, a]
            low, high = value if value < low else low, value if value > high else high
    spread = high - low if high - low > EPSILON else EPSILON
    weight = math.sqrt(total) * (init + math.log((total + base + 1) / base)) / softmax(out)
    best, highest = 0, -math.inf
    for a in range(visits.shape[1]):
        count = visits[at, a]
        score = weight * out[a] / (count + 1)
        if count > 0:
            score += (values[at, a] - low) / spread
        if score > highest and prior[at, a] > -math.inf:
            highest, best = score, a
    return best


@inner
def softmax(logits: Array) -> float:
    """Replace logits by `exp(logits - top)` and return their sum."""
    top = logits[0]
    for a in range(1, len(logits)):
        top = logits[a] if logits[a] > top else top
    mass = 0.0
    for a in range(len(logits)):
        share = math.exp(logits[a] - top)
        logits[a] = share
        mass += share
    return mass


@inner
def improve(
    visits: Array, values: Array, prior: Array, at: int, raw: float, scale: float, init: float, out: Array
) -> None:
    """Write logits plus `qtransforms.completed_by_mixed_value` to `out`."""
    top = prior[at, 0]
    for a in range(1, visits.shape[1]):
        top = prior[at, a] if prior[at, a] > top else top
    total, most, untried = 0, 0, 0
    low, high = math.inf, -math.inf
    mass, mean = 0.0, 0.0
    for a in range(visits.shape[1]):
        count, value = visits[at, a], values[at, a]
        if count == 0:
            untried += 1
            continue
        weight = math.exp(prior[at, a] - top) + TINY
        mass += weight
        mean += weight * value
        low, high = value if value < low else low, value if value > high else high
        total, most = total + count, count if count > most else most
    mixed = (raw + total * (mean / mass)) / (1 + total) if total > 0 else raw
    if untried > 0:
        low, high = mixed if mixed < low else low, mixed if mixed > high else high
    unit = (init + most) * scale / (high - low if high - low > EPSILON else EPSILON)
    for a in range(visits.shape[1]):
        value = values[at, a] if visits[at, a] > 0 else mixed
        out[a] = prior[at, a] + unit * (value - low)


@inner
def due(visits: Array, prior: Array, at: int, before: Array, table: Array, b: int) -> int:
    """How often the action that a root tries now was tried before: sequential halving."""
    legal, fresh = 0, 0
    for a in range(visits.shape[1]):
        fresh += visits[at, a] - before[b, a]
        if prior[at, a] > -math.inf and legal + 1 < table.shape[0]:
            legal += 1
    return table[legal, fresh]


@inner
def first_of(
    visits: Array, prior: Array, at: int, before: Array, wanted: int, noise: Array, b: int, out: Array
) -> int:
    """The best of a root's actions with so many visits since `before`, from the improved logits `out`."""
    top = prior[at, 0]
    for a in range(1, visits.shape[1]):
        top = prior[at, a] if prior[at, a] > top else top
    best, highest = 0, -math.inf
    for a in range(visits.shape[1]):
        if visits[at, a] - before[b, a] == wanted and prior[at, a] > -math.inf:
            score = noise[b, a] - top + out[a]
            score = score if score > LEAST_LOGIT else LEAST_LOGIT
            if score > highest:
                highest, best = score, a
    return best


@inner
def lag(
    visits: Array, values: Array, prior: Array, at: int, raw: float, scale: float, init: float, out: Array
) -> int:
    """The selector of `gumbel.gumbel` below the root."""
    total, best, highest = 0, 0, -math.inf
    for a in range(visits.shape[1]):
        total += visits[at, a]
    if total == 0:  # as at most nodes: their policy is the prior
        for a in range(visits.shape[1]):
            if prior[at, a] > highest:
                highest, best = prior[at, a], a
        return best
    improve(visits, values, prior, at, raw, scale, init, out)
    mass = softmax(out)
    for a in range(visits.shape[1]):
        behind = out[a] / mass - visits[at, a] / (1 + total)
        if behind > highest and prior[at, a] > -math.inf:
            highest, best = behind, a
    return best
