"""The walk, compiled for the CPU: what `walk.py` does with tensors, one row after another in plain loops.

A simulation is a few hundred numbers a row. Tensor operations cost microseconds each before they touch one of
them, and a simulation takes a hundred operations; here it costs what the arithmetic costs. The functions
mirror `selection.py`, `gumbel.py`, `qtransforms.py` and `walk.py`, where the formulas and their sources are;
tests hold both to the same trees.

Nodes of all rows are counted through here: node `n` of row `b` is `at = b * N + n`, in arrays `[B * N, A]`
and `[B * N]`. A simulation is one call (`turn`): every call costs time, so what can be done in one is. It
takes arrays one by one because a tuple of them would cost more than the walk, at small batches, and is
compiled for one policy at a time, because nobody should wait for the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import DTypeLike, NDArray

UNVISITED = -1
EPSILON = 1e-8
LEAST_LOGIT = -1e9
TINY = float(np.finfo(np.float32).tiny)

Array = NDArray[Any]


# What makes a function callable from Python or C takes time to compile, so it is left out where nobody calls.
ENTRY: dict[str, Any] = {"error_model": "numpy", "no_cfunc_wrapper": True}
INNER: dict[str, Any] = ENTRY | {"no_cpython_wrapper": True}


def inner(function: Callable[..., Any]) -> Any:
    """For functions that only compiled ones call."""
    return numba.njit(**INNER)(function)


def entry(function: Callable[..., Any]) -> Any:
    """Compile at the first call, and keep the machine code on disk for the next process where that can be."""
    try:
        return numba.njit(cache=True, **ENTRY)(function)
    except RuntimeError:  # no folder that may be written to
        return numba.njit(**ENTRY)(function)


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
) -> int:
    """Write logits plus `qtransforms.completed_by_mixed_value` to `out`; the node's visits."""
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
    return total


@inner
def halve(
    visits: Array, prior: Array, at: int, before: Array, noise: Array, table: Array, b: int, out: Array
) -> int:
    """The root's selector of `gumbel.gumbel`, from the improved logits `out`."""
    legal, fresh, top = 0, 0, -math.inf
    for a in range(visits.shape[1]):
        fresh += visits[at, a] - before[b, a]
        top = prior[at, a] if prior[at, a] > top else top
        if prior[at, a] > -math.inf and legal + 1 < table.shape[0]:
            legal += 1
    wanted = table[legal, fresh]
    best, highest = 0, -math.inf
    for a in range(visits.shape[1]):
        if visits[at, a] - before[b, a] == wanted and prior[at, a] > -math.inf:
            score = noise[b, a] - top + out[a]
            score = score if score > LEAST_LOGIT else LEAST_LOGIT
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
        if behind > highest and prior[at, a] > -math.inf:
            highest, best = behind, a
    return best


@inner
def has_any(mask: Array, b: int) -> bool:
    """Whether any action of a row is legal."""
    legal = False
    for a in range(mask.shape[1]):
        legal |= mask[b, a]
    return legal


@inner
def learn(
    b: int,
    at: int,
    a: int,
    gain: float,
    discount: float,
    first: int,
    top: int,
    parent: Array,
    parent_action: Array,
    visits: Array,
    values: Array,
    best: Array,
    rewards: Array,
    low: Array,
    high: Array,
) -> None:
    """`walk.backup` of one row, from the edge `a` of node `at`, which gave `gain`, up to node `top`."""
    while True:
        visits[at, a] += 1
        mean = values[at, a] + (gain - values[at, a]) / visits[at, a]
        values[at, a] = mean
        if gain > best[at, a]:
            best[at, a] = gain
        if mean < low[b]:
            low[b] = mean
        if mean > high[b]:
            high[b] = mean
        if at == top:
            return
        a, at = parent_action[at], first + parent[at]
        gain = rewards[at, a] + discount * gain


@inner
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
        total = improve(visits, values, prior, at, raw, scale, init, out)
        if is_root:
            a = halve(visits, prior, at, before, noise, table, b, out)
        else:
            a = lag(visits, prior, at, total, out)
    return a


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
    # the policy: the constants of one, None for the others, whose code is then left out
    uct_rule: Array | None,
    puct_rule: Array | None,
    gumbel_rule: Array | None,
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

    With `grows` there is a step to take in (`walk.expand`, `walk.backup`); with `walks` the rows walk
    (`walk.select`). `root` to `high` are the tensors of the tree, rows and nodes in one axis where they have
    nodes. `states` are as bytes, uint8 `[B * N, bytes]`, without any where the caller stores them. One of the
    three rules is given, `first, second` of the roots' `Rule` and of the other nodes', f64 `[2, 2]`; `noise`
    f64 `[B, A]` and `table` belong to Gumbel's.

    Written to, `[B]` each: `leaf`, the node at which a walk ended, counted through, `action` and `depth`,
    both 0 in rows with a terminal root, and `needed`, the rows that take a step; `steps` and `edges` count
    on.

    What the step led to: the states `after` as bytes `[B, bytes]`, and `reward` to `logits`, as in `Step`;
    logits are `[B, 0]` without a prior. `out` is room for `A` numbers.
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
                done = ended[b] or not has_any(mask, b)
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
            learn(
                b, at, a, gain, discount, first, top,
                parent, parent_action, visits, values, best, rewards, low, high,
            )  # fmt: skip
        if walks:
            at, a, length, child = top, 0, 0, 0
            needed[b] = False
            walking = not terminal[top]
            while walking:
                a = choose(
                    b, at, length == 0, visits, values, prior, raw_value[at], low[b], high[b], before,
                    uct_rule, puct_rule, gumbel_rule, noise, table, out,
                )  # fmt: skip
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


class StepFunction:
    """A C function as Numba wants it passed, its type found out once and not at every call.

    Attributes:
        dtypes: Of the states and of the values that it takes.
    """

    def __init__(self, function: Any) -> None:
        self._numba_type_ = numba.typeof(function)
        self._address = function.address
        arguments = function._sig.args
        self.dtypes = tuple(numba.np.numpy_support.as_dtype(arguments[i].dtype) for i in (1, 0))

    def __wrapper_address__(self) -> int:
        return self._address


def compiled_step(state: DTypeLike = np.float32, value: DTypeLike = np.float32) -> Callable[..., Any]:
    """Decorator that compiles the step of a `CompiledProblem`, at once, and keeps it on disk.

    Args:
        state: Dtype of the states.
        value: Dtype of the tree's values.
    """
    number, place = numba.from_dtype(np.dtype(value)), numba.from_dtype(np.dtype(state))
    line, table, flags = number[::1], number[:, ::1], numba.types.bool_
    states, actions = place[:, ::1], numba.types.int64[::1]
    ends = (states, line, flags[::1], flags[:, ::1], line, table)
    signature = numba.types.void(line, states, actions, flags[::1], *ends)

    def decorate(function: Callable[..., None]) -> Any:
        try:
            return numba.cfunc(signature, cache=True, error_model="numpy")(function)
        except RuntimeError:  # no folder that may be written to
            return numba.cfunc(signature, error_model="numpy")(function)

    return decorate


@entry
def run(
    simulations: int,
    step: Callable[..., None],
    parameters: Array,
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
        step: The problem's `compiled_step`: as a C function, so that this is compiled once for all problems.
        parameters: Its parameters, `[n]`.
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
