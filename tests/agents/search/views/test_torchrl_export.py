"""A search as TorchRL's forest, walked node by node."""

from __future__ import annotations

import pytest
import torch
from tensordict import TensorDict

from agents.search import UNVISITED, Tree, init_tree, puct, reroot, search, summarize
from agents.search.views.torchrl_export import to_forest, to_torchrl
from tests.agents.search.oracle import RandomGame


def grown(simulations: int = 25, actions: int = 4) -> Tree:
    game = RandomGame.draw(3, states=20, actions=actions, seed=4, prior=True, legal=0.8)
    tree = init_tree(game.root(), simulations + 1, dtype=torch.float64)
    search(tree, game, simulations, puct(), 0.9)
    return tree


def edges_below(tree: Tree, row: int, node: int) -> dict[tuple[int, int], int]:
    """Node and action to child, from a node downwards."""
    found = {}
    for action, child in enumerate(tree.children[row, node].tolist()):
        if child != UNVISITED:
            found |= {(node, action): child} | edges_below(tree, row, child)
    return found


def test_every_edge_is_a_step_that_leads_on():
    tree = grown()
    forest = to_forest(tree)
    total = 0
    for row in range(3):
        for (node, action), child in edges_below(tree, row, 0).items():
            total += 1
            here = {"observation": torch.tensor([row, node]), "action": torch.tensor(action)}
            following = forest.get_child(TensorDict(here))["next"]
            assert following["observation"].tolist() == [row, child]
            assert int(following["visits"]) == int(tree.visits[row, node, action])
            assert float(following["value"]) == float(tree.q_values[row, node, action])
            assert float(following["reward"]) == float(tree.rewards[row, node, action])
            assert bool(following["done"]) == bool(tree.terminal[row, child])
    assert len(forest) == total > 30


def test_the_tree_has_the_same_branches_visits_and_values():
    tree = grown()
    waiting = [(to_torchrl(tree, 1), 0)]
    walked = 0
    while waiting:
        vertex, node = waiting.pop()
        expected = {a: c for a, c in enumerate(tree.children[1, node].tolist()) if c != UNVISITED}
        assert vertex.num_children == len(expected)
        for i in range(vertex.num_children):
            child = vertex.subtree[i]
            step = child.rollout[0]
            action = int(step["action"])
            assert int(child.count) == int(tree.visits[1, node, action])
            mean = float(child.wins / child.count)
            assert mean == pytest.approx(float(tree.q_values[1, node, action]))
            assert child.node_data["observation"].tolist() == [1, expected[action]]
            waiting.append((child, expected[action]))
            walked += 1
    assert walked == len(edges_below(tree, 1, 0))


def test_it_begins_where_the_game_stands():
    tree = grown()
    reroot(tree, summarize(tree).action)
    below = edges_below(tree, 0, int(tree.root[0]))
    assert len(to_forest(tree, [0])) == len(below)
    assert to_torchrl(tree, 0, max_depth=1).num_children > 0


def test_before_a_search_there_is_nothing_to_export():
    with pytest.raises(ValueError, match="nothing was searched"):
        to_forest(grown(simulations=0), [0])
