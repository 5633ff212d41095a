import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.search import Root, Tree, gumbel, init_tree, reroot, search, summarize, uct
from tests.agents.search.oracle import Oracle, RandomGame


def root_of(game: RandomGame) -> Root:
    return Root(game.start(), game.mask[:, 0], game.terminal[:, 0])


def grow(game: RandomGame, simulations: int, discount: float = 1.0, **planting) -> Tree:
    tree = init_tree(root_of(game), simulations + 1, dtype=torch.float64, **planting)
    search(tree, game, simulations, uct(1.4), discount)
    return tree


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    batch=st.integers(1, 5),
    actions=st.integers(1, 6),
    simulations=st.integers(0, 50),
    discount=st.sampled_from([1.0, 0.9, 0.0]),
)
def test_equal_to_a_plain_search(seed, batch, actions, simulations, discount):
    game = RandomGame.draw(batch, states=9, actions=actions, seed=seed)
    tree = init_tree(root_of(game), simulations + 1, dtype=torch.float64)
    effort = search(tree, game, simulations, uct(1.4), discount)
    summary = summarize(tree)
    for row in range(batch):
        oracle = Oracle(game, row, 1.4, discount)
        oracle.run(simulations)
        expected = [oracle.root.visits.get(a, 0) for a in range(actions)]
        assert summary.visits[row].tolist() == expected
        assert summary.action[row] == oracle.best()
        assert effort.steps[row] == oracle.steps
        values = [oracle.root.values.get(a, 0.0) for a in range(actions)]
        torch.testing.assert_close(summary.values[row].tolist(), values, rtol=1e-12, atol=1e-12)
        best = [oracle.root.best.get(a, -torch.inf) for a in range(actions)]
        torch.testing.assert_close(summary.best[row].tolist(), best, rtol=1e-12, atol=1e-12)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), moves=st.integers(1, 4))
def test_moves_on_with_what_it_knows(seed, moves):
    game = RandomGame.draw(4, states=12, actions=3, seed=seed, ended=0.1)
    tree = init_tree(root_of(game), 10 * moves + 1, dtype=torch.float64)
    oracles = [Oracle(game, row, 1.4, 0.95) for row in range(4)]
    for _ in range(moves):
        search(tree, game, 10, uct(1.4), 0.95)
        summary = summarize(tree)
        for row, oracle in enumerate(oracles):
            oracle.run(10)
            assert summary.visits[row].tolist() == [oracle.root.visits.get(a, 0) for a in range(3)]
            oracle.move()
        reroot(tree, summary.action)


def test_a_row_does_not_depend_on_its_batch():
    game = RandomGame.draw(6, states=20, actions=5, seed=3)
    whole = grow(game, 40, generator=torch.Generator().manual_seed(1))
    part = grow(game.rows(slice(0, 2)), 40, generator=torch.Generator().manual_seed(1))
    for name in ("visits", "q_values", "children", "used"):
        assert torch.equal(getattr(whole, name)[:2], getattr(part, name)), name
    # Without drawn ties, a row does not even depend on its position.
    whole = grow(game, 40)
    assert torch.equal(whole.visits[[4, 0, 2]], grow(game.rows([4, 0, 2]), 40).visits)


def test_the_generator_decides():
    game = RandomGame.draw(4, states=20, actions=5, seed=5, legal=1.0)
    first, again, other = (grow(game, 3, generator=torch.Generator().manual_seed(s)) for s in (7, 7, 8))
    assert torch.equal(first.visits, again.visits)
    assert not torch.equal(first.visits, other.visits)


def test_illegal_actions_are_never_taken():
    game = RandomGame.draw(8, states=15, actions=6, seed=11, legal=0.4)
    tree = grow(game, 60, generator=torch.Generator().manual_seed(0))
    for row in range(8):
        for node in range(int(tree.used[row])):
            position = int(tree.state[row, node, 1])
            taken = tree.visits[row, node] > 0
            assert not bool((taken & ~game.mask[row, position]).any())


def test_nothing_happens_below_a_terminal_root():
    game = RandomGame.draw(3, states=6, actions=3, seed=0)
    root = root_of(game)._replace(terminal=torch.tensor([True, False, True]))
    tree = init_tree(root, 21)
    effort = search(tree, game, 20, uct(1.0))
    assert effort.steps.tolist()[0] == 0
    assert effort.edges.tolist()[2] == 0
    assert int(tree.visits[0].sum()) == 0
    assert int(tree.visits[1, 0].sum()) == 20
    assert reroot(tree, summarize(tree).action).root.tolist()[0] == 0


def test_prior_orders_what_is_untried():
    game = RandomGame.draw(1, states=6, actions=4, seed=2, legal=1.0)
    prior = torch.tensor([[0.1, 2.0, -1.0, 1.0]])
    for simulations, expected in ((1, [0, 1, 0, 0]), (2, [0, 1, 0, 1]), (3, [1, 1, 0, 1])):
        tree = init_tree(root_of(game)._replace(prior=prior), simulations + 1)
        search(tree, game, simulations, uct(1.0))
        assert summarize(tree).visits[0].tolist() == expected


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda tree, game: search(tree, game, 2, gumbel(torch.zeros(2, 3), 3)), "simulations=2.*made for 3"),
        (lambda tree, game: search(tree, game, -1, uct(1.0)), "simulations=-1"),
        (lambda tree, game: search(tree, game, 1, uct(1.0), discount=1.5), "discount=1.5"),
        (lambda tree, game: reroot(tree, torch.zeros(2, dtype=torch.int64)), "never simulated"),
    ],
)
def test_wrong_use_is_named(call, words):
    game = RandomGame.draw(2, states=6, actions=3, seed=0)
    with pytest.raises(ValueError, match=words):
        call(init_tree(root_of(game), 5), game)
