"""The walk, compiled for the CPU: what `walk.py` does with tensors, one row after another in plain loops.

A simulation is a few hundred numbers a row. Tensor operations cost microseconds each before they touch one of
them, and a simulation takes a hundred operations; here it costs what the arithmetic costs. The functions
mirror `selection.py`, `gumbel.py`, `qtransforms.py` and `walk.py`, where the formulas and their sources are;
tests hold both to the same trees.

Nodes of all rows are counted through here: node `n` of row `b` is `at = b * N + n`, in arrays `[B * N, A]` and
`[B * N]`. Only `turn` is called from outside: every call costs time, so what can be done in one is. It takes
arrays one by one because a tuple of them would cost more than the walk, at small batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from agents.search.edges import HALVING, PUCT, UCT

UNVISITED = -1
EPSILON = 1e-8
LEAST_LOGIT = -1e9
TINY = float(np.finfo(np.float32).tiny)

Array = NDArray[Any]


def inner(function: Callable[..., Any]) -> Any:
    """For functions that only compiled ones call."""
    return numba.njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)


def entry(function: Callable[..., Any]) -> Any:
    """Compile at the first call, and keep the machine code on disk for the next process where that can be."""
    try:
        return numba.njit(error_model="numpy", no_cfunc_wrapper=True, cache=True)(function)
    except RuntimeError:  # no folder that may be written to
        return numba.njit(error_model="numpy", no_cfunc_wrapper=True)(function)


@inner
def uct(visits: Array, values: Array, prior: Array, at: int, low: float, high: float, exploration: float) -> int:
    """`selection.uct` at one node."""
    total = 1
    for a in range(visits.shape[1]):
        total += visits[at, a]
    log_total = math.log(total)
    spread = high - low
    untried, best = -1, 0
    first, highest = -math.inf, -math.inf
    for a in range(visits.shape[1]):
        if visits[at, a] == 0:
            if prior[at, a] > first:
                first, untried = prior[at, a], a
        else:
            value = (values[at, a] - low) / spread if spread > 0 else 0.0
            score = value + exploration * math.sqrt(log_total / visits[at, a])
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
            low, high = min(low, values[at, a]), max(high, values[at, a])
    spread = max(high - low, EPSILON)
    mass = softmax(out)
    weight = math.sqrt(total) * (init + math.log((total + base + 1) / base)) / mass
    best, highest = 0, -math.inf
    for a in range(visits.shape[1]):
        value = (values[at, a] - low) / spread if visits[at, a] > 0 else 0.0
        score = value + weight * out[a] / (visits[at, a] + 1)
        if prior[at, a] > -math.inf and score > highest:
            highest, best = score, a
    return best


@inner
def softmax(logits: Array) -> float:
    """Replace logits by `exp(logits - top)` and return their sum."""
    top = logits[0]
    for a in range(1, len(logits)):
        top = max(top, logits[a])
    mass = 0.0
    for a in range(len(logits)):
        logits[a] = math.exp(logits[a] - top)
        mass += logits[a]
    return mass


@inner
def improve(
    visits: Array, values: Array, prior: Array, at: int, raw: float, scale: float, init: float, out: Array
) -> int:
    """Write logits plus `qtransforms.completed_by_mixed_value` to `out`; the node's visits."""
    top = prior[at, 0]
    for a in range(1, visits.shape[1]):
        top = max(top, prior[at, a])
    total, most, untried = 0, 0, 0
    low, high = math.inf, -math.inf
    mass, mean = 0.0, 0.0
    for a in range(visits.shape[1]):
        count = visits[at, a]
        if count > 0:
            weight = max(math.exp(prior[at, a] - top), TINY)
            mass += weight
            mean += weight * values[at, a]
            low, high = min(low, values[at, a]), max(high, values[at, a])
            total, most = total + count, max(most, count)
        else:
            untried += 1
    mixed = (raw + total * (mean / mass)) / (1 + total) if total > 0 else raw
    if untried > 0:
        low, high = min(low, mixed), max(high, mixed)
    unit = (init + most) * scale / max(high - low, EPSILON)
    for a in range(visits.shape[1]):
        value = values[at, a] if visits[at, a] > 0 else mixed
        out[a] = prior[at, a] + unit * (value - low)
    return total


@inner
def halve(
    visits: Array, prior: Array, at: int, before: Array, noise: Array, table: Array, b: int, out: Array
) -> int:
    """The root's selector of `gumbel.gumbel`, from the improved logits `out`."""
    legal, fresh, top = 0, 0, -math.inf
    for a in range(visits.shape[1]):
        legal += prior[at, a] > -math.inf
        fresh += visits[at, a] - before[b, a]
        top = max(top, prior[at, a])
    wanted = table[min(legal, table.shape[0] - 1), fresh]
    best, highest = 0, -math.inf
    for a in range(visits.shape[1]):
        if visits[at, a] - before[b, a] == wanted and prior[at, a] > -math.inf:
            score = max(noise[b, a] - top + out[a], LEAST_LOGIT)
            if score > highest:
                highest, best = score, a
    return best


@inner
def lag(visits: Array, prior: Array, at: int, total: int, out: Array) -> int:
    """The selector of `gumbel.gumbel` below the root, from the improved logits `out`."""
    mass = softmax(out)
    best, highest = 0, -math.inf
    for a in range(visits.shape[1]):
        behind = out[a] / mass - visits[at, a] / (1 + total)
        if prior[at, a] > -math.inf and behind > highest:
            highest, best = behind, a
    return best


@entry
def turn(
    grows: bool,
    walks: bool,
    # the tree, as in `Tree`
    root: Array,
    used: Array,
    parent: Array,
    parent_action: Array,
    level: Array,
    terminal: Array,
    raw_value: Array,
    children: Array,
    visits: Array,
    values: Array,
    best: Array,
    rewards: Array,
    before: Array,
    prior: Array,
    order: Array,
    low: Array,
    high: Array,
    states: Array,
    # the policy: kinds and constants at the roots and below, and what `HALVING` needs
    rules: Array,
    noise: Array,
    table: Array,
    max_depth: int,
    discount: float,
    # where the walks ended
    leaf: Array,
    action: Array,
    depth: Array,
    needed: Array,
    steps: Array,
    edges: Array,
    # what the step of the problem led to, as in `Step`
    after: Array,
    reward: Array,
    ended: Array,
    mask: Array,
    value: Array,
    logits: Array,
    out: Array,
) -> bool:
    """Take in the last walks' steps, then walk again; whether any row had somewhere to go.

    Args:
        grows: Whether there is a step to take in: `walk.expand` and `walk.backup`.
        walks: Whether to walk: `walk.select`.
        root: As all that follow up to `high` a tensor of the tree, with `B` and `N` in one axis.
        states: As bytes, uint8 `[B * N, bytes]`; without bytes if the caller stores the states.
        rules: `kind, first, second` of the roots' rule and of the other nodes', float64 `[2, 3]`.
        noise: As in `Rule`, `[B, A]`.
        table: As in `Rule`.
        max_depth: Edges that a walk may have.
        discount: Weight of what follows a transition.
        leaf: Out: node at which the walk ended, counted through, i64 `[B]`.
        action: Out: action chosen there, i64 `[B]`; 0 in rows with a terminal root.
        depth: Out: edges of the walk, i64 `[B]`; 0 in rows with a terminal root.
        needed: Out: rows that take a step of the problem, bool `[B]`.
        steps: Counts those, i64 `[B]`.
        edges: Counts the edges walked, i64 `[B]`.
        after: States after the step, as bytes, uint8 `[B, bytes]`.
        reward: As all that follow up to `logits`, the step's; logits `[B, 0]` if it has none.
        ended: Its `terminal`.
        mask: Its legal actions.
        value: Its value.
        logits: Its prior.
        out: Room for `A` numbers.
    """
    batch, actions = before.shape
    nodes = len(terminal) // batch
    busy = False
    for b in range(batch):
        first = b * nodes
        top = first + root[b]
        if grows and depth[b] > 0:
            at, a = leaf[b], action[b]
            child = children[at, a]
            if needed[b]:
                done = True
                for i in range(actions):
                    done = done and not mask[b, i]
                done = done or ended[b]
                ahead = 0.0 if done else value[b]
                rewards[at, a] = reward[b]
                gain = reward[b] + discount * ahead
                if used[b] < nodes:
                    new = first + used[b]
                    children[at, a] = used[b]
                    parent[new], parent_action[new], level[new] = at - first, a, level[at] + 1
                    terminal[new], raw_value[new] = done, ahead
                    for i in range(actions):
                        own = logits[b, i] if logits.shape[1] > 0 else order[b, used[b] % order.shape[1], i]
                        prior[new, i] = own if mask[b, i] else -math.inf
                    for i in range(states.shape[1]):
                        states[new, i] = after[b, i]
                    used[b] += 1
            elif child == UNVISITED:  # no room for its node: it gives what it gave before
                gain = float(values[at, a])
            else:
                gain = rewards[at, a] + discount * raw_value[first + child]
            while True:
                visits[at, a] += 1
                mean = values[at, a] + (gain - values[at, a]) / visits[at, a]
                values[at, a], best[at, a] = mean, max(best[at, a], gain)
                low[b], high[b] = min(low[b], mean), max(high[b], mean)
                if at == top:
                    break
                a = np.int64(parent_action[at])
                at = first + parent[at]
                gain = rewards[at, a] + discount * gain
        if walks:
            at, a, length, child = top, 0, 0, 0
            needed[b] = False
            walking = not terminal[top]
            while walking:
                kind = rules[min(length, 1), 0]
                one, two = rules[min(length, 1), 1], rules[min(length, 1), 2]
                if kind == UCT:
                    a = uct(visits, values, prior, at, low[b], high[b], one)
                elif kind == PUCT:
                    a = puct(visits, values, prior, at, raw_value[at], one, two, out)
                else:
                    total = improve(visits, values, prior, at, raw_value[at], one, two, out)
                    if kind == HALVING:
                        a = halve(visits, prior, at, before, noise, table, b, out)
                    else:
                        a = lag(visits, prior, at, total, out)
                child = children[at, a]
                length += 1
                walking = child != UNVISITED and length < max_depth and not terminal[first + child]
                if walking:
                    at = first + child
            if length > 0:
                busy = True
                needed[b] = child == UNVISITED and (used[b] < nodes or visits[at, a] == 0)
                steps[b] += needed[b]
            leaf[b], action[b], depth[b] = at, a, length
            edges[b] += length
    return busy


@entry
def run(
    simulations: int,
    step: Callable[..., None],
    parameters: tuple[Array, ...],
    states: Array,
    state: Array,
    after: Array,
    leaf: Array,
    action: Array,
    needed: Array,
    reward: Array,
    ended: Array,
    mask: Array,
    value: Array,
    logits: Array,
    *rest: Any,
) -> None:
    """A whole search, of a problem whose step is compiled as well.

    Args:
        simulations: How many.
        step: The problem's `compiled_step`.
        parameters: Its parameters.
        states: The tree's, `[B * N, D]`.
        state: Room for the states to step from, `[B, D]`.
        after: Room for those that follow, `[B, D]`.
        leaf: As all that follow up to `logits`, what is in `rest` too.
        action: As in `turn`.
        needed: As in `turn`.
        reward: As in `turn`.
        ended: As in `turn`.
        mask: As in `turn`.
        value: As in `turn`.
        logits: As in `turn`.
        rest: All that `turn` takes after `walks`.
    """
    for number in range(simulations):
        if not turn(number > 0, True, *rest):
            return
        for b in range(len(leaf)):
            for i in range(states.shape[1]):
                state[b, i] = states[leaf[b], i]
        step(parameters, state, action, needed, after, reward, ended, mask, value, logits)
    if simulations > 0:
        turn(True, False, *rest)
