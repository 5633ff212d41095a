"""The walk, compiled for the CPU: what `walk.py` does with tensors, one row after another in plain loops.

A simulation is a few hundred numbers a row. Tensor operations cost microseconds each before they touch one of
them, and a simulation takes a hundred operations; here it costs what the arithmetic costs, and what it takes
to read the tree from memory.

Nodes of all rows are counted through here: node `n` of row `b` is `at = b * N + n`, and its edges are
`at * A` to `at * A + A - 1`. Memory is read through pointers, out of which Numba makes a fraction of the code
that it makes out of arrays, in less than half the time. It is compiled for one policy at a time,
because nobody should wait for the others.
"""

from __future__ import annotations

import math

import numpy as np

from agents.search.kernels.jit import Array, Pointer, call_step, entry, inner, onwards, pointers, written_out
from agents.search.kernels.policy_kernels import (
    first_of,
    improve,
    lag,
    preferred,
    puct,
    scheduled_visits,
    uct,
)

UNVISITED = -1


@inner
def learn(
    b: int,
    at: int,
    a: int,
    gain: float,
    discount: float,
    first: int,
    top: int,
    actions: int,
    parent: Pointer,
    parent_action: Pointer,
    visits: Pointer,
    values: Pointer,
    best: Pointer,
    rewards: Pointer,
    low: Pointer,
    high: Pointer,
) -> None:
    """`walk.backup` of one row, from the edge `a` of node `at`, which gave `gain`, up to node `top`."""
    while True:
        edge = at * actions + a
        visits[edge] += 1
        mean = values[edge] + (gain - values[edge]) / visits[edge]
        values[edge] = mean
        if gain > best[edge]:
            best[edge] = gain
        if mean < low[b]:
            low[b] = mean
        if mean > high[b]:
            high[b] = mean
        if at == top:
            return
        a, at = parent_action[at], first + parent[at]
        gain = rewards[at * actions + a] + discount * gain


@inner
def expand(
    b: int,
    nodes: int,
    actions: int,
    width: int,
    orders: int,
    priors: int,
    at: int,
    a: int,
    discount: float,
    used: Pointer,
    parent: Pointer,
    parent_action: Pointer,
    level: Pointer,
    terminal: Pointer,
    raw_value: Pointer,
    children: Pointer,
    values: Pointer,
    rewards: Pointer,
    prior: Pointer,
    order: Pointer,
    states: Pointer,
    needed: Pointer,
    after: Pointer,
    reward: Pointer,
    ended: Pointer,
    mask: Pointer,
    value: Pointer,
    logits: Pointer,
) -> float:
    """`walk.expand` of one row, whose walk ended with the edge `a` of node `at`; what the edge gave."""
    edge, line = at * actions + a, b * actions
    child = children[edge]
    if not needed[b]:
        if child == UNVISITED:  # no room for its node: it gives what it gave before
            return float(values[edge])
        return rewards[edge] + discount * raw_value[b * nodes + child]
    legal = 0
    for i in range(line, line + actions):
        legal |= mask[i]
    done = ended[b] or not legal
    ahead = 0.0 if done else value[b]
    rewards[edge] = reward[b]
    if used[b] < nodes:
        new = b * nodes + used[b]
        children[edge] = used[b]
        parent[new], parent_action[new], level[new] = at - b * nodes, a, level[at] + 1
        terminal[new], raw_value[new] = done, ahead
        place = (b * orders + used[b] % orders) * actions
        for i in range(actions):
            own = logits[line + i] if priors > 0 else order[place + i]
            prior[new * actions + i] = own if mask[line + i] else -math.inf
        for i in range(width):
            states[new * width + i] = after[b * width + i]
        used[b] += 1
    return reward[b] + discount * ahead


@written_out
def descend(
    b: int,
    first: int,
    top: int,
    max_depth: int,
    actions: int,
    considered: int,
    planned: int,
    terminal: Pointer,
    raw_value: Pointer,
    children: Pointer,
    visits: Pointer,
    values: Pointer,
    before: Pointer,
    prior: Pointer,
    low: Pointer,
    high: Pointer,
    by_uct: bool | None,
    by_puct: bool | None,
    by_gumbel: bool | None,
    constants: Array,
    noise: Pointer,
    table: Pointer,
    leaf: Pointer,
    action: Pointer,
    out: Pointer,
) -> int:
    """`walk.select` of one row, whose last node and action are written to `leaf` and `action`; its edges."""
    at, a, length = top, 0, 0
    walking = not terminal[top]
    own = 0  # where the constants of the node's rule are: those of the roots come first
    while walking:
        edge = at * actions
        scale, other = constants[own], constants[own + 1]
        if by_uct is not None:
            a = uct(actions, edge, visits, values, prior, low[b], high[b], scale)
        if by_puct is not None:
            a = puct(actions, edge, visits, values, prior, raw_value[at], scale, other, out)
        if by_gumbel is not None:
            a = -1 if length == 0 else preferred(actions, edge, visits, prior)
            if a < 0:
                highest = improve(actions, edge, visits, values, prior, raw_value[at], scale, other, out)
                if length == 0:
                    past, chance = onwards(before, b * actions), onwards(noise, b * actions)
                    wanted = scheduled_visits(actions, edge, visits, prior, past, table, considered, planned)
                    a = first_of(actions, edge, visits, prior, past, wanted, chance, highest, out)
                else:
                    a = lag(actions, edge, visits, prior, out)
        own = 2
        child = children[edge + a]
        length += 1
        walking = child != UNVISITED and length < max_depth and not terminal[first + child]
        if walking:
            at = first + child
    leaf[b], action[b] = at, a
    return length


@written_out
def conclude(
    batch: int,
    nodes: int,
    actions: int,
    root: Pointer,
    terminal: Pointer,
    raw_value: Pointer,
    visits: Pointer,
    values: Pointer,
    best: Pointer,
    before: Pointer,
    prior: Pointer,
    by_gumbel: bool | None,
    constants: Array,
    noise: Pointer,
    action: Pointer,
    root_visits: Pointer,
    root_values: Pointer,
    root_best: Pointer,
    out: Pointer,
) -> None:
    """What `summarize` reads of the roots: the action that is decided on, and visits, values and best."""
    for b in range(batch):
        at = b * nodes + root[b]
        edge, line = at * actions, b * actions
        most, chosen, highest = 0, 0, -math.inf
        for a in range(actions):
            count = visits[edge + a]
            root_visits[line + a] = count
            root_values[line + a] = values[edge + a]
            root_best[line + a] = best[edge + a]
            if by_gumbel is not None:
                count -= before[line + a]
                most = count if count > most else most
            elif count > most or (count == most and count > 0 and values[edge + a] > highest):
                most, chosen, highest = count, a, values[edge + a]
        if by_gumbel is not None:
            scale, init = constants[0], constants[1]
            top = improve(actions, edge, visits, values, prior, raw_value[at], scale, init, out)
            past, chance = onwards(before, line), onwards(noise, line)
            chosen = first_of(actions, edge, visits, prior, past, most, chance, top, out)
        action[b] = 0 if terminal[at] else chosen


@entry
def run_simulations(
    places: Array,
    constants: Array,
    by_uct: bool | None,
    by_puct: bool | None,
    by_gumbel: bool | None,
    number_like: Array,
    state_like: Array,
) -> bool:
    """Take in the steps of simulation `number - 1`, then walk for simulation `number`, and so on.

    With a compiled `step` this is the whole search, from `number` 0 to the last step that is taken in, for
    `block` rows after another, whose trees then stay in the core's cache. Without one it is a single turn,
    and the caller takes the step between it and the next: first `number` 0, where there is nothing to take in
    (`walk.expand`, `walk.backup`), last `simulations`, where there is nowhere to walk (`walk.select`). With a
    `number` beyond that the roots are read (`conclude`), here because to compile a function of its own would
    take longer.

    Args:
        places: Where all is in memory, i64, in the order of the lines below. Of the tree, its tensors, and
            its `states`; `noise` `[B, A]` and `table` are Gumbel's. Where the walks ended, `[B]` each:
            `leaf`, the node at which a walk ended, counted through, `action` and `depth`, both 0 in rows with
            a terminal root, and `needed`, the rows that take a step; `steps` and `edges` count on. What the
            steps led to: the states `after`, `[B, D]`, and `reward` to `logits`, as in `Step`. `here` are
            the states that steps are taken from, `[B, D]`; `out` is room for `A` numbers;
            `parameters` are those of a compiled step. `sizes` say how many there are of what, in the order of
            the lines below: `width` is `D`, of `state_like` each, `orders` are the lines `N` or 1 of `order`,
            `priors` is 0 if steps come without logits, Gumbel's table is `[considered + 1, planned]`,
            `count` are the parameters, and `step` is the address of a compiled one, or 0. What `conclude`
            writes to: `action`, `root_visits`, `root_values` and `root_best`.
        constants: `first` and `second` of the `KernelSpec` at the roots and elsewhere, and the discount, f64.
        by_uct: Whether this is the policy; None for the others, whose code is then left out.
        by_puct: As well.
        by_gumbel: As well.
        number_like: An array of the dtype of the tree's values.
        state_like: An array of the dtype in which states are copied.

    Returns:
        Whether any row had somewhere to go at last.
    """
    longs, ints = pointers(places, 0, np.int64), pointers(places, 9, np.int32)
    flags, numbers = pointers(places, 16, np.uint8), pointers(places, 20, number_like)
    others = pointers(places, 36, state_like)
    sizes = longs[8]
    number, simulations, block = sizes[0], sizes[1], sizes[2]
    batch, nodes, actions = sizes[3], sizes[4], sizes[5]
    width, orders, priors = sizes[6], sizes[7], sizes[8]
    max_depth, considered, planned = sizes[9], sizes[10], sizes[11]
    count, step, discount = sizes[12], sizes[13], constants[4]
    root, used = longs[0], longs[1]
    leaf, action, depth = longs[2], longs[3], longs[4]
    steps, edges, table = longs[5], longs[6], longs[7]
    parent, parent_action, level = ints[0], ints[1], ints[2]
    children, visits, before, root_visits = ints[3], ints[4], ints[5], ints[6]
    terminal, needed = flags[0], flags[1]
    ended, mask = flags[2], flags[3]
    raw_value, values, best = numbers[0], numbers[1], numbers[2]
    rewards, prior, order = numbers[3], numbers[4], numbers[5]
    low, high, noise = numbers[6], numbers[7], numbers[8]
    root_values, root_best = numbers[9], numbers[10]
    reward, value, logits = numbers[11], numbers[12], numbers[13]
    out, parameters = numbers[14], numbers[15]
    states, after, here = others[0], others[1], others[2]
    busy = False
    if number > simulations:
        conclude(
            batch, nodes, actions, root, terminal, raw_value, visits, values, best, before, prior, by_gumbel,
            constants, noise, action, root_visits, root_values, root_best, out,
        )  # fmt: skip
        return busy
    for start in range(0, batch, block):
        stop = min(start + block, batch)
        turn = number
        if turn == 0:
            for b in range(start, stop):
                top = (b * nodes + root[b]) * actions
                for i in range(actions):
                    before[b * actions + i] = visits[top + i]
        while turn <= simulations:
            busy = False
            for b in range(start, stop):
                first = b * nodes
                top = first + root[b]
                if depth[b] > 0:
                    at, a = leaf[b], action[b]
                    gain = expand(
                        b, nodes, actions, width, orders, priors, at, a, discount, used, parent,
                        parent_action, level, terminal, raw_value, children, values, rewards, prior, order,
                        states, needed, after, reward, ended, mask, value, logits,
                    )  # fmt: skip
                    learn(
                        b, at, a, gain, discount, first, top, actions,
                        parent, parent_action, visits, values, best, rewards, low, high,
                    )  # fmt: skip
                if turn < simulations:
                    length = descend(
                        b, first, top, max_depth, actions, considered, planned, terminal, raw_value, children,
                        visits, values, before, prior, low, high, by_uct, by_puct, by_gumbel, constants,
                        noise, table, leaf, action, out,
                    )  # fmt: skip
                    edge = leaf[b] * actions + action[b]
                    fresh = used[b] < nodes or visits[edge] == 0
                    taken = length > 0 and children[edge] == UNVISITED and fresh
                    needed[b] = taken
                    steps[b] += taken
                    depth[b] = length
                    edges[b] += length
                    for i in range(width):
                        here[b * width + i] = states[leaf[b] * width + i]
                    busy |= length > 0
            if step == 0 or not busy:  # every root is terminal, or it was the last turn
                break
            call_step(
                step, parameters, count, here, action, needed, after, reward, ended, mask, value, logits,
                start, stop - start, width, actions,
            )  # fmt: skip
            turn += 1
    return busy
