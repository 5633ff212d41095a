"""The walk, compiled for the CPU: what `walk.py` does with tensors, one row after another in plain loops.

A simulation is a few hundred numbers a row. Tensor operations cost microseconds each before they touch one of
them, and a simulation takes a hundred operations; here it costs what the arithmetic costs. The functions
mirror `selection.py`, `gumbel.py`, `qtransforms.py` and `walk.py`, where the formulas and their sources are;
tests hold both to the same trees.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from agents.search.edges import HALVING, PUCT, UCT

UNVISITED, NO_PARENT = -1, -1
EPSILON = 1e-8
LEAST_LOGIT = -1e9
TINY = float(np.finfo(np.float32).tiny)

Array = NDArray[Any]


def compiled(function: Callable[..., Any]) -> Any:
    """Compile at the first call, and keep the machine code on disk for the next process where that can be."""
    options = {"error_model": "numpy", "nogil": True}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder that may be written to
        return numba.njit(**options)(function)


class Nodes(NamedTuple):
    """A `Tree` as arrays; they share its memory."""

    root: Array
    used: Array
    parent: Array
    parent_action: Array
    level: Array
    terminal: Array
    raw_value: Array
    children: Array
    visits: Array
    values: Array
    best: Array
    rewards: Array
    before: Array
    prior: Array
    order: Array
    low: Array
    high: Array


class Rules(NamedTuple):
    """How to choose: kind and two constants at the roots and below, noise `[B, A]`, table of visits wanted."""

    root: tuple[int, float, float]
    interior: tuple[int, float, float]
    noise: Array
    table: Array
    max_depth: int
    discount: float


class Ends(NamedTuple):
    """Where the walks ended, `[B]` each, as in `walk.Walk`; `needed`: rows that take a step of the problem."""

    node: Array
    action: Array
    needed: Array
    steps: Array
    edges: Array


class Outcome(NamedTuple):
    """A `Step` as arrays, `[B]` or `[B, A]`; a prior `[B, 0]` stands for none."""

    reward: Array
    terminal: Array
    mask: Array
    value: Array
    prior: Array


@compiled
def uct(nodes: Nodes, b: int, n: int, exploration: float) -> int:
    """`selection.uct` at one node."""
    visits, values, prior = nodes.visits[b, n], nodes.values[b, n], nodes.prior[b, n]
    low = nodes.low[b]
    spread = nodes.high[b] - low
    log_total = math.log(1 + visits.sum())
    untried, best = -1, -1
    first, highest = -math.inf, -math.inf
    for a in range(len(prior)):
        if visits[a] == 0:
            if prior[a] > first:
                first, untried = prior[a], a
        else:
            value = (values[a] - low) / spread if spread > 0 else 0.0
            score = value + exploration * math.sqrt(log_total / visits[a])
            if score > highest:
                highest, best = score, a
    return untried if untried >= 0 else best


@compiled
def puct(nodes: Nodes, b: int, n: int, init: float, base: float, policy: Array) -> int:
    """`selection.puct` at one node."""
    visits, values, prior = nodes.visits[b, n], nodes.values[b, n], nodes.prior[b, n]
    total, earned = 1, 0.0
    for a in range(len(prior)):
        total += visits[a]
        earned += visits[a] * values[a]
    own = (nodes.raw_value[b, n] + earned) / total
    low = high = own
    for a in range(len(prior)):
        if visits[a] > 0:
            low, high = min(low, values[a]), max(high, values[a])
    spread = max(high - low, EPSILON)
    mass = softmax(prior, policy)
    weight = math.sqrt(total) * (init + math.log((total + base + 1) / base)) / mass
    best, highest = 0, -math.inf
    for a in range(len(prior)):
        value = (values[a] - low) / spread if visits[a] > 0 else 0.0
        score = value + weight * policy[a] / (visits[a] + 1)
        if prior[a] > -math.inf and score > highest:
            highest, best = score, a
    return best


@compiled
def softmax(logits: Array, shares: Array) -> float:
    """Write `exp(logits - top)` to `shares` and return their sum."""
    top = logits[0]
    for a in range(1, len(logits)):
        top = max(top, logits[a])
    mass = 0.0
    for a in range(len(logits)):
        shares[a] = math.exp(logits[a] - top)
        mass += shares[a]
    return mass


@compiled
def improve(nodes: Nodes, b: int, n: int, value_scale: float, maxvisit_init: float, out: Array) -> int:
    """Write logits plus `qtransforms.completed_by_mixed_value` to `out`; the node's visits."""
    visits, values, prior = nodes.visits[b, n], nodes.values[b, n], nodes.prior[b, n]
    top = -math.inf
    for a in range(len(prior)):
        top = max(top, prior[a])
    total, most, untried = 0, 0, False
    low, high = math.inf, -math.inf
    mass, mean = 0.0, 0.0
    for a in range(len(prior)):
        count = visits[a]
        if count == 0:
            untried = True
            continue
        total += count
        most = max(most, count)
        weight = max(math.exp(prior[a] - top), TINY)
        mass += weight
        mean += weight * values[a]
        low, high = min(low, values[a]), max(high, values[a])
    mixed = nodes.raw_value[b, n]
    if total > 0:
        mixed = (mixed + total * (mean / mass)) / (1 + total)
    if untried:
        low, high = min(low, mixed), max(high, mixed)
    scale = (maxvisit_init + most) * value_scale / max(high - low, EPSILON)
    for a in range(len(prior)):
        out[a] = prior[a] + scale * ((values[a] if visits[a] > 0 else mixed) - low)
    return total


@compiled
def halving(nodes: Nodes, b: int, n: int, rules: Rules, out: Array) -> int:
    """The root's selector of `gumbel.gumbel`."""
    visits, prior, before = nodes.visits[b, n], nodes.prior[b, n], nodes.before[b]
    improve(nodes, b, n, rules.root[1], rules.root[2], out)
    legal, fresh, top = 0, 0, -math.inf
    for a in range(len(prior)):
        legal += prior[a] > -math.inf
        fresh += visits[a] - before[a]
        top = max(top, prior[a])
    wanted = rules.table[min(legal, rules.table.shape[0] - 1), fresh]
    best, highest = 0, -math.inf
    for a in range(len(prior)):
        if visits[a] - before[a] == wanted and prior[a] > -math.inf:
            score = max(rules.noise[b, a] - top + out[a], LEAST_LOGIT)
            if score > highest:
                highest, best = score, a
    return best


@compiled
def improved(nodes: Nodes, b: int, n: int, value_scale: float, maxvisit_init: float, out: Array) -> int:
    """The selector of `gumbel.gumbel` below the root."""
    total = improve(nodes, b, n, value_scale, maxvisit_init, out)
    visits, prior = nodes.visits[b, n], nodes.prior[b, n]
    mass = softmax(out, out)
    best, highest = 0, -math.inf
    for a in range(len(prior)):
        lag = out[a] / mass - visits[a] / (1 + total)
        if prior[a] > -math.inf and lag > highest:
            highest, best = lag, a
    return best


@compiled
def choose(nodes: Nodes, b: int, n: int, rule: tuple[int, float, float], rules: Rules, out: Array) -> int:
    """The action that a rule takes at one node."""
    kind, first, second = rule
    if kind == UCT:
        return uct(nodes, b, n, first)
    if kind == PUCT:
        return puct(nodes, b, n, first, second, out)
    if kind == HALVING:
        return halving(nodes, b, n, rules, out)
    return improved(nodes, b, n, first, second, out)


@compiled
def descend(nodes: Nodes, rules: Rules, ends: Ends, out: Array) -> bool:
    """`walk.select`: walk down from every root; whether any row had somewhere to go."""
    busy = False
    for b in range(len(nodes.root)):
        n = nodes.root[b]
        ends.node[b], ends.action[b], ends.needed[b] = n, -1, False
        if nodes.terminal[b, n]:
            continue
        busy = True
        a = choose(nodes, b, n, rules.root, rules, out)
        child = nodes.children[b, n, a]
        depth = 1
        while child != UNVISITED and not nodes.terminal[b, child] and depth < rules.max_depth:
            n = np.int64(child)
            a = choose(nodes, b, n, rules.interior, rules, out)
            child = nodes.children[b, n, a]
            depth += 1
        room = nodes.used[b] < nodes.parent.shape[1]
        ends.node[b], ends.action[b] = n, a
        ends.needed[b] = child == UNVISITED and (room or nodes.visits[b, n, a] == 0)
        ends.steps[b] += ends.needed[b]
        ends.edges[b] += depth
    return busy


@compiled
def grow(nodes: Nodes, rules: Rules, ends: Ends, step: Outcome, following: Array, states: Array) -> None:
    """`walk.expand` and `walk.backup`: take in what the step led to, states (`following`) as bytes."""
    for b in range(len(nodes.root)):
        if ends.action[b] < 0:
            continue
        n, a = ends.node[b], np.int64(ends.action[b])
        child = nodes.children[b, n, a]
        if ends.needed[b]:
            ended = step.terminal[b] or not step.mask[b].any()
            ahead = 0.0 if ended else step.value[b]
            nodes.rewards[b, n, a] = step.reward[b]
            gain = step.reward[b] + rules.discount * ahead
            new = nodes.used[b]
            if new < nodes.parent.shape[1]:
                nodes.used[b] = new + 1
                nodes.children[b, n, a] = new
                nodes.parent[b, new], nodes.parent_action[b, new] = n, a
                nodes.level[b, new] = nodes.level[b, n] + 1
                nodes.terminal[b, new], nodes.raw_value[b, new] = ended, ahead
                order = nodes.order[b, new % nodes.order.shape[1]]
                prior = step.prior[b] if step.prior.shape[1] > 0 else order
                for i in range(len(prior)):
                    nodes.prior[b, new, i] = prior[i] if step.mask[b, i] else -math.inf
                for i in range(states.shape[2]):
                    states[b, new, i] = following[b, i]
        elif child == UNVISITED:  # no room for its node: it gives what it gave before
            gain = float(nodes.values[b, n, a])
        else:
            gain = nodes.rewards[b, n, a] + rules.discount * nodes.raw_value[b, child]
        while True:
            count = nodes.visits[b, n, a] + 1
            value = nodes.values[b, n, a]
            value += (gain - value) / count
            nodes.visits[b, n, a], nodes.values[b, n, a] = count, value
            nodes.best[b, n, a] = max(nodes.best[b, n, a], gain)
            nodes.low[b], nodes.high[b] = min(nodes.low[b], value), max(nodes.high[b], value)
            if n == nodes.root[b]:
                break
            a = np.int64(nodes.parent_action[b, n])
            n = np.int64(nodes.parent[b, n])
            gain = nodes.rewards[b, n, a] + rules.discount * gain
