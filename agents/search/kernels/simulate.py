"""Compiled simulation: what ``simulate.py`` does with tensors, one row after another in plain loops.

A simulation is a few hundred numbers per row. A tensor operation costs microseconds before it touches one of
them, and a simulation takes a hundred operations; here it costs what the arithmetic and the memory cost.
"""

from __future__ import annotations

import math

from agents.search.kernels.arrays import PolicyArrays, StepArrays, TreeArrays, WalkArrays
from agents.search.kernels.jit import device, entry
from agents.search.kernels.policies import improve, largest_lag, puct, sequential_halving, uct
from agents.search.policies.base import PUCT, UCT

UNVISITED = -1


@device
def select_action(b: int, node: int, tree: TreeArrays, walk: WalkArrays, policy: PolicyArrays) -> int:
    """Return the action that the policy takes at a node of row ``b``."""
    visits, values, prior = tree.visits[b, node], tree.q_values[b, node], tree.prior[b, node]
    raw_value, scratch = tree.raw_value[b, node], walk.scratch
    if policy.kind == UCT:
        return uct(visits, values, prior, tree.low[b], tree.high[b], policy.exploration)
    if policy.kind == PUCT:
        return puct(visits, values, prior, raw_value, policy.pb_c_init, policy.pb_c_base, scratch)
    top = improve(visits, values, prior, raw_value, policy.value_scale, policy.maxvisit_init, scratch)
    if node == tree.root[b]:
        noise = policy.noise[b]
        return sequential_halving(visits, tree.before[b], prior, noise, policy.visits_table, top, scratch)
    return largest_lag(visits, prior, scratch)


@entry
def select(tree: TreeArrays, walk: WalkArrays, policy: PolicyArrays, max_depth: int) -> bool:
    """Walk down from each root, as ``simulate.select`` does, and copy the states that steps are taken from.

    Returns:
        Whether any row has somewhere to go: whether a root is not terminal.
    """
    busy = False
    for b in range(len(tree.root)):
        node, action, length = tree.root[b], 0, 0
        walking = not tree.terminal[b, node]
        while walking:
            action = select_action(b, node, tree, walk, policy)
            child = tree.children[b, node, action]
            length += 1
            walking = child != UNVISITED and length < max_depth and not tree.terminal[b, child]
            if walking:
                node = child
        walk.node[b], walk.action[b], walk.length[b] = node, action, length
        has_room = tree.used[b] < tree.children.shape[1]
        is_open = length > 0 and tree.children[b, node, action] == UNVISITED
        walk.needed[b] = is_open and (has_room or tree.visits[b, node, action] == 0)
        walk.steps[b] += walk.needed[b]
        walk.edges[b] += length
        for i in range(tree.state.shape[2]):
            walk.state[b, i] = tree.state[b, node, i]
        busy |= length > 0
    return busy


@device
def is_finite(b: int, step: StepArrays) -> bool:
    """Return whether the numbers of a step are, those aside that are not used; as ``finite.check_step``."""
    total = step.reward[b] + step.value[b]
    for a in range(step.mask.shape[1]):
        total += step.prior[b, a] if step.mask[b, a] else 0.0
    if math.isfinite(total):  # so is each of them
        return True
    legal, possible, good = False, False, math.isfinite(step.value[b])
    for a in range(step.mask.shape[1]):
        legal |= step.mask[b, a]
        possible |= step.mask[b, a] and step.prior[b, a] > -math.inf
        good &= step.prior[b, a] < math.inf or not step.mask[b, a]
    return math.isfinite(step.reward[b]) and ((good and possible) or step.terminal[b] or not legal)


@entry
def expand_and_backup(tree: TreeArrays, walk: WalkArrays, step: StepArrays, discount: float) -> bool:
    """Make the nodes that the walks arrived at, and add the returns to the edges above them.

    As ``simulate.expand`` and ``simulate.backup`` do.

    Returns:
        Whether all numbers are finite; where one is not, the tree stays as it was.
    """
    for b in range(len(tree.root)):
        if walk.needed[b] and not is_finite(b, step):
            return False
    for b in range(len(tree.root)):
        if walk.length[b] > 0:
            node, action = walk.node[b], walk.action[b]
            backup(b, node, action, expand(b, node, action, tree, walk, step, discount), tree, discount)
    return True


@device
def expand(
    b: int, node: int, action: int, tree: TreeArrays, walk: WalkArrays, step: StepArrays, discount: float
) -> float:
    """Make the node at the end of an edge, where one is to be made, and return what the edge gave."""
    if not walk.needed[b]:
        child = tree.children[b, node, action]
        if child == UNVISITED:  # no room for its node: it gives what it gave before
            return float(tree.q_values[b, node, action])
        return float(tree.rewards[b, node, action] + discount * tree.raw_value[b, child])
    actions = step.mask.shape[1]
    legal = False
    for a in range(actions):
        legal |= step.mask[b, a]
    terminal = step.terminal[b] or not legal
    value = 0.0 if terminal else step.value[b]
    tree.rewards[b, node, action] = step.reward[b]
    new = tree.used[b]
    if new < tree.children.shape[1]:
        tree.children[b, node, action] = new
        tree.parent[b, new], tree.parent_action[b, new] = node, action
        tree.level[b, new] = tree.level[b, node] + 1
        tree.terminal[b, new], tree.raw_value[b, new] = terminal, value
        for a in range(actions):
            tree.prior[b, new, a] = step.prior[b, a] if step.mask[b, a] else -math.inf
        for i in range(tree.state.shape[2]):
            tree.state[b, new, i] = step.state[b, i]
        tree.used[b] = new + 1
    return float(step.reward[b] + discount * value)


@device
def backup(b: int, node: int, action: int, gain: float, tree: TreeArrays, discount: float) -> None:
    """Add the return of a walk to its edges, from the last, which gave ``gain``, up to the root."""
    while True:
        tree.visits[b, node, action] += 1
        mean = tree.q_values[b, node, action]
        mean += (gain - mean) / tree.visits[b, node, action]
        tree.q_values[b, node, action] = mean
        tree.best[b, node, action] = max(gain, tree.best[b, node, action])
        tree.low[b], tree.high[b] = min(mean, tree.low[b]), max(mean, tree.high[b])
        if node == tree.root[b]:
            return
        action, node = tree.parent_action[b, node], tree.parent[b, node]
        gain = tree.rewards[b, node, action] + discount * gain
