"""The walk, compiled for the CPU: what `walk.py` does with tensors, one row after another in plain loops.

A simulation is a few hundred numbers a row. Tensor operations cost microseconds each before they touch one of
them, and a simulation takes a hundred operations; here it costs what the arithmetic costs, and what it takes
to read the tree from memory.

Nodes of all rows are counted through here: node `n` of row `b` is `at = b * N + n`, in arrays `[B * N, A]`
and `[B * N]`. A call takes arrays one by one because a tuple of them would cost more than the walk, at small
batches. It is compiled for one policy at a time, because nobody should wait for the others.
"""

from __future__ import annotations

import math
from typing import Any

from agents.search.jit import Array, entry, inlined
from agents.search.kernels_rules import choose, first_of, improve

UNVISITED = -1


@inlined
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


@inlined
def expand(
    b: int,
    nodes: int,
    at: int,
    a: int,
    discount: float,
    used: Array,
    parent: Array,
    parent_action: Array,
    level: Array,
    terminal: Array,
    raw_value: Array,
    children: Array,
    values: Array,
    rewards: Array,
    prior: Array,
    order: Array,
    states: Array,
    needed: Array,
    after: Array,
    reward: Array,
    ended: Array,
    mask: Array,
    value: Array,
    logits: Array,
) -> float:
    """`walk.expand` of one row, whose walk ended with the edge `a` of node `at`; what the edge gave."""
    child = children[at, a]
    if not needed[b]:
        if child == UNVISITED:  # no room for its node: it gives what it gave before
            return float(values[at, a])
        return rewards[at, a] + discount * raw_value[b * nodes + child]
    done = ended[b]
    if not done:
        done = True
        for i in range(mask.shape[1]):
            done &= not mask[b, i]
    ahead = 0.0 if done else value[b]
    rewards[at, a] = reward[b]
    if used[b] < nodes:
        new = b * nodes + used[b]
        children[at, a] = used[b]
        parent[new], parent_action[new], level[new] = at - b * nodes, a, level[at] + 1
        terminal[new], raw_value[new] = done, ahead
        for i in range(mask.shape[1]):
            own = logits[b, i] if logits.shape[1] > 0 else order[b, used[b] % order.shape[1], i]
            prior[new, i] = own if mask[b, i] else -math.inf
        for i in range(states.shape[1]):
            states[new, i] = after[b, i]
        used[b] += 1
    return reward[b] + discount * ahead


@inlined
def descend(
    b: int,
    first: int,
    top: int,
    max_depth: int,
    terminal: Array,
    raw_value: Array,
    children: Array,
    visits: Array,
    values: Array,
    before: Array,
    prior: Array,
    low: Array,
    high: Array,
    uct_rule: Array | None,
    puct_rule: Array | None,
    gumbel_rule: Array | None,
    noise: Array,
    table: Array,
    leaf: Array,
    action: Array,
    out: Array,
) -> int:
    """`walk.select` of one row, whose last node and action are written to `leaf` and `action`; its edges."""
    at, a, length = top, 0, 0
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
    leaf[b], action[b] = at, a
    return length


@inlined
def collect(start: int, stop: int, inputs: Array, leaf: Array, here: Array) -> None:
    """The states that some rows step from."""
    for b in range(start, stop):
        for i in range(inputs.shape[1]):
            here[b, i] = inputs[leaf[b], i]


@entry
def grow(
    # which rows and simulations
    begin: int,
    end: int,
    block: int,
    number: int,
    simulations: int,
    # the step of the problem, where it is compiled, and what it takes; else None
    step: Any,
    parameters: Any,
    inputs: Any,
    here: Any,
    there: Any,
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
    """Take in the steps of simulation `number - 1`, then walk for simulation `number`, and so on.

    The rows `begin` to `end` take part. With a compiled `step` this is the whole search, from `number` 0 to
    the last step that is taken in, for `block` rows after another, whose trees then stay in the core's cache.
    Without one it is a single turn, and the caller takes the step between it and the next: first `number` 0,
    where there is nothing to take in (`walk.expand`, `walk.backup`), last `simulations`, where there is
    nowhere to walk (`walk.select`).

    `root` to `high` are the tensors of the tree, rows and nodes in one axis where they have nodes. `states`
    are as bytes, uint8 `[B * N, bytes]`, without any where the caller stores them; to a compiled step they
    are numbers, `inputs` `[B * N, D]`, and it takes them from `here` and writes the next to `there`, `[B, D]`
    each, the latter being `after` as numbers. One of the three rules is given, `first, second` of the roots'
    `Rule` and of the other nodes', f64 `[2, 2]`; `noise` `[B, A]` and `table` belong to Gumbel's.

    Written to: `before` at number 0, and `[B]` each: `leaf`, the node at which a walk ended, counted through,
    `action` and `depth`, both 0 in rows with a terminal root, and `needed`, the rows that take a step;
    `steps` and `edges` count on.

    What the step led to: the states `after` as bytes `[B, bytes]`, and `reward` to `logits`, as in `Step`;
    logits are `[B, 0]` without a prior. `out` is room for `A` numbers.

    Returns:
        Whether any row had somewhere to go at last.
    """
    nodes = len(terminal) // len(root)
    busy = False
    for start in range(begin, end, block):
        stop = min(start + block, end)
        turn = number
        if turn == 0:
            for b in range(start, stop):
                for i in range(before.shape[1]):
                    before[b, i] = visits[b * nodes + root[b], i]
        while turn <= simulations:
            busy = False
            for b in range(start, stop):
                first = b * nodes
                top = first + root[b]
                if turn > 0 and depth[b] > 0:
                    at, a = leaf[b], action[b]
                    gain = expand(
                        b, nodes, at, a, discount, used, parent, parent_action, level, terminal, raw_value,
                        children, values, rewards, prior, order, states, needed,
                        after, reward, ended, mask, value, logits,
                    )  # fmt: skip
                    learn(
                        b, at, a, gain, discount, first, top,
                        parent, parent_action, visits, values, best, rewards, low, high,
                    )  # fmt: skip
                if turn < simulations:
                    length = descend(
                        b, first, top, max_depth, terminal, raw_value, children, visits, values, before,
                        prior, low, high, uct_rule, puct_rule, gumbel_rule, noise, table, leaf, action, out,
                    )  # fmt: skip
                    child = children[leaf[b], action[b]]
                    fresh = used[b] < nodes or visits[leaf[b], action[b]] == 0
                    needed[b] = length > 0 and child == UNVISITED and fresh
                    steps[b] += needed[b]
                    depth[b] = length
                    edges[b] += length
                    busy |= length > 0
            if step is None:
                return busy
            if not busy:  # every root is terminal, or it was the last turn
                break
            collect(start, stop, inputs, leaf, here)
            step(
                parameters, here[start:stop], action[start:stop], needed[start:stop], there[start:stop],
                reward[start:stop], ended[start:stop], mask[start:stop], value[start:stop],
                logits[start:stop],
            )  # fmt: skip
            turn += 1
    return busy


@entry
def decide(
    root: Array,
    before: Array,
    terminal: Array,
    raw_value: Array,
    visits: Array,
    values: Array,
    best: Array,
    prior: Array,
    gumbel_rule: Array | None,
    noise: Array,
    action: Array,
    root_visits: Array,
    root_values: Array,
    root_best: Array,
    out: Array,
) -> None:
    """What `summarize` reads of the roots, written to `action` `[B]` and the three `[B, A]` behind it.

    With a `gumbel_rule`, as in `grow`, the policy of `gumbel.gumbel` decides, from `noise` and the visits
    since `before`; without, the visits do.
    """
    nodes = len(terminal) // len(root)
    for b in range(len(root)):
        at = b * nodes + root[b]
        for a in range(visits.shape[1]):
            root_visits[b, a] = visits[at, a]
            root_values[b, a] = values[at, a]
            root_best[b, a] = best[at, a]
        most, chosen, highest = 0, 0, -math.inf
        if gumbel_rule is not None:
            for a in range(visits.shape[1]):
                most = max(most, visits[at, a] - before[b, a])
            improve(visits, values, prior, at, raw_value[at], gumbel_rule[0, 0], gumbel_rule[0, 1], out)
            chosen = first_of(visits, prior, at, before, most, noise, b, out)
        else:
            for a in range(visits.shape[1]):
                count = visits[at, a]
                if count > most or (count == most and count > 0 and values[at, a] > highest):
                    most, chosen, highest = count, a, values[at, a]
        action[b] = 0 if terminal[at] else chosen
