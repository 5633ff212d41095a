"""What a tree does with its room: it frees what a game leaves behind, and goes no deeper than it is told."""

from __future__ import annotations

import pytest
import torch

from agents.search import (
    Backend,
    Root,
    Tree,
    compact,
    gumbel,
    gumbel_noise,
    init_tree,
    puct,
    reroot,
    search,
    summarize,
    uct,
)
from tests.agents.search.oracle import RandomGame
from tests.agents.search.policies.test_search_policies import (
    agrees,
    noise_of,
    oracle_of,
    policy_of,
)

POLICIES = ("uct", "puct", "gumbel")
BACKENDS: tuple[Backend, ...] = ("numba", "torch")
NODES = ("parent_action", "terminal", "raw_value", "visits", "q_values", "best", "rewards", "prior", "state")


def forever(batch: int = 3, seed: int = 0) -> RandomGame:
    """A game that never ends."""
    return RandomGame.draw(batch, states=25, actions=4, seed=seed, ended=0.0, legal=0.9, prior=True)


def play(game: RandomGame, name: str, capacity: int, moves: int, backend: Backend) -> tuple[list[list], Tree]:
    tree = init_tree(game.root(), capacity, dtype=torch.float64)
    answers = []
    for move in range(moves):
        uniforms = torch.rand(
            game.mask[:, 0].shape, generator=torch.Generator().manual_seed(move), dtype=torch.float64
        )
        policy = gumbel(gumbel_noise(uniforms), 12, 4) if name == "gumbel" else uct(1.0)
        policy = puct(20.0) if name == "puct" else policy
        search(tree, game, 12, policy, 0.9, backend=backend)
        summary = summarize(tree, policy)
        answers.append([summary.visits.tolist(), summary.values.tolist(), summary.action.tolist()])
        reroot(tree, summary.action)
    return answers, tree


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_long_game_needs_room_for_the_live_tree_only(name, backend):
    game, moves = forever(), 8
    roomy, _ = play(game, name, 12 * moves + 1, moves, backend)
    tight, tree = play(game, name, 50, moves, backend)
    assert int(tree.used.max()) <= 50
    assert tight == roomy


def test_what_is_live_is_kept_as_it_was():
    game = forever()
    tree = init_tree(game.root(), 60, dtype=torch.float64)
    search(tree, game, 50, uct(1.0), 0.9)
    reroot(tree, summarize(tree).action)
    before, root = tree.state.clone(), tree.root.clone()
    kept = {name: getattr(tree, name).clone() for name in (*NODES, "children", "parent", "level", "used")}
    compact(tree, torch.tensor([True, False, True]))
    assert torch.equal(tree.used[1], kept["used"][1])
    assert torch.equal(tree.root, torch.where(torch.tensor([True, False, True]), 0, root))
    for row in (0, 2):
        pairs = [(int(root[row]), 0)]
        for old, new in pairs:
            for name in NODES:
                assert torch.equal(kept[name][row, old], getattr(tree, name)[row, new]), name
            for was, now in zip(
                kept["children"][row, old].tolist(), tree.children[row, new].tolist(), strict=True
            ):
                assert (was < 0) == (now < 0)
                if now >= 0:
                    assert int(tree.parent[row, now]) == new
                    assert int(tree.level[row, now]) == int(tree.level[row, new]) + 1
                    pairs.append((was, now))
        assert len(pairs) == int(tree.used[row]) < int(kept["used"][row])
        assert torch.equal(tree.state[row, 0], before[row, root[row]])
    assert tree.parent[[0, 2], 0].tolist() == [-1, -1]


def test_a_row_is_freed_for_its_own_sake_alone():
    """Which rows share the batch does not matter to what a row draws, visits or frees."""
    game = forever(4, seed=2)

    def grow(game: RandomGame) -> Tree:
        root = Root(game.start(), game.mask[:, 0])
        tree = init_tree(root, 30, torch.Generator().manual_seed(3), dtype=torch.float64)
        game.prior = None
        for _ in range(5):
            search(tree, game, 12, uct(0.7), 0.9)
            reroot(tree, summarize(tree).action)
        return tree

    whole, part = grow(game), grow(game.rows(slice(0, 2)))
    assert torch.equal(whole.visits[:2], part.visits)
    assert torch.equal(whole.used[:2], part.used)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_edge_without_a_node_gets_one_when_there_is_room(backend):
    game = forever(1)
    tree = init_tree(game.root(), 8, dtype=torch.float64)
    search(tree, game, 30, puct(), 0.9, backend=backend)
    loose = ((tree.visits[0] > 0) & (tree.children[0] < 0)).sum()
    assert int(loose) > 0
    reroot(tree, summarize(tree).action)
    alive = int(tree.used[0])
    search(tree, game, 30, puct(), 0.9, backend=backend)
    assert int(tree.root[0]) == 0
    assert int(tree.used[0]) == alive == 8
    assert int(tree.visits[0, 0].sum()) >= 30


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("max_depth", [1, 2, 4])
def test_no_walk_is_longer_than_it_may_be(name, max_depth):
    game = RandomGame.draw(3, states=12, actions=4, seed=max_depth, prior=name != "uct")
    noise = noise_of(game)
    for backend in BACKENDS:
        policy = policy_of(name, noise, 40)
        tree = init_tree(game.root(), 41, dtype=torch.float64)
        effort = search(tree, game, 40, policy, 0.9, max_depth, backend)
        summary = summarize(tree, policy)
        assert int(tree.level.max()) <= max_depth
        assert int(effort.edges.max()) <= 40 * max_depth
        for row in range(3):
            oracle = oracle_of(name, game, row, noise, discount=0.9, max_depth=max_depth)
            oracle.run(40)
            assert agrees(oracle, summary, row)
            assert int(effort.steps[row]) == oracle.steps


def test_a_depth_of_nothing_is_named():
    game = forever(1)
    with pytest.raises(ValueError, match="max_depth=0"):
        search(init_tree(game.root(), 3), game, 2, puct(), max_depth=0)
