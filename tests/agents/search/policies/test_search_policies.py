"""PUCT and Gumbel: against a plain search, against mctx, and what must hold whatever the game."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.search import (
    Policy,
    Summary,
    Tree,
    considered_visits,
    dirichlet_noise,
    gumbel,
    gumbel_noise,
    init_tree,
    mix,
    puct,
    reroot,
    root_edges,
    search,
    summarize,
    uct,
)
from tests.agents.search.make_golden import CASES, GOLDEN, answer, draw_game
from tests.agents.search.oracle import GumbelOracle, Oracle, PuctOracle, RandomGame

POLICIES = ("uct", "puct", "gumbel")
CONSIDERED = 4


def noise_of(game: RandomGame, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return gumbel_noise(torch.rand(game.mask[:, 0].shape, generator=generator, dtype=torch.float64))


def policy_of(name: str, noise: torch.Tensor, simulations: int) -> Policy:
    if name == "gumbel":
        return gumbel(noise, simulations, CONSIDERED)
    return uct(1.4) if name == "uct" else puct(1.25)


def oracle_of(name: str, game: RandomGame, row: int, noise: torch.Tensor, **settings_) -> Oracle:
    if name == "uct":
        return Oracle(game, row, 1.4, **settings_)
    oracle = (PuctOracle if name == "puct" else GumbelOracle)(game, row, 1.25, **settings_)
    if isinstance(oracle, GumbelOracle):
        oracle.noise, oracle.considered = noise[row].tolist(), CONSIDERED
    return oracle


def run(
    name: str, game: RandomGame, simulations: int, noise: torch.Tensor, discount: float = 1.0
) -> tuple[Tree, Summary]:
    tree = init_tree(game.root(), simulations + 1, dtype=torch.float64)
    policy = policy_of(name, noise, simulations)
    search(tree, game, simulations, policy, discount)
    return tree, summarize(tree, policy)


def agrees(oracle: Oracle, summary: Summary, row: int) -> bool:
    visits = [oracle.root.visits.get(a, 0) for a in range(summary.visits.shape[1])]
    return summary.visits[row].tolist() == visits and int(summary.action[row]) == oracle.best()


@pytest.mark.parametrize("name", ["puct", "gumbel"])
@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    actions=st.integers(1, 6),
    simulations=st.integers(0, 40),
    discount=st.sampled_from([1.0, 0.9, 0.0]),
)
def test_equal_to_a_plain_search(name, seed, actions, simulations, discount):
    game = RandomGame.draw(3, states=9, actions=actions, seed=seed, prior=True)
    noise = noise_of(game, seed)
    _, summary = run(name, game, simulations, noise, discount)
    for row in range(3):
        oracle = oracle_of(name, game, row, noise, discount=discount)
        oracle.run(simulations)
        assert agrees(oracle, summary, row)


@pytest.mark.parametrize("name", ["puct", "gumbel"])
@pytest.mark.parametrize("seed", [0, 1])
def test_moves_on_with_what_it_knows(name, seed):
    game = RandomGame.draw(3, states=12, actions=4, seed=seed, ended=0.1, prior=True)
    tree = init_tree(game.root(), 31, dtype=torch.float64)
    oracles = [oracle_of(name, game, row, noise_of(game), discount=0.95) for row in range(3)]
    for move in range(3):
        noise = noise_of(game, move)
        policy = policy_of(name, noise, 10)
        search(tree, game, 10, policy, 0.95)
        summary = summarize(tree, policy)
        for row, oracle in enumerate(oracles):
            oracle.noise = noise[row].tolist()
            oracle.run(10)
            assert agrees(oracle, summary, row)
            oracle.move()
        reroot(tree, summary.action)


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("capacity", [1, 4, 12])
def test_a_full_tree_still_learns(name, capacity):
    game = RandomGame.draw(3, states=10, actions=3, seed=capacity, prior=name != "uct")
    noise = noise_of(game)
    tree = init_tree(game.root(), capacity, dtype=torch.float64)
    policy = policy_of(name, noise, 30)
    effort = search(tree, game, 30, policy, 0.9)
    summary = summarize(tree, policy)
    assert int(tree.used.max()) <= capacity
    for row in range(3):
        oracle = oracle_of(name, game, row, noise, discount=0.9, capacity=capacity)
        oracle.run(30)
        assert agrees(oracle, summary, row)
        assert int(effort.steps[row]) == oracle.steps
        values = [oracle.root.values.get(a, 0.0) for a in range(3)]
        torch.testing.assert_close(summary.values[row].tolist(), values, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10_000), simulations=st.integers(1, 25))
def test_what_holds_for_any_game(name, seed, simulations):
    game = RandomGame.draw(4, states=9, actions=5, seed=seed, legal=0.5, prior=True)
    noise = noise_of(game, seed)
    tree, summary = run(name, game, simulations, noise)
    assert summary.visits.sum(-1).tolist() == [0 if done else simulations for done in tree.terminal[:, 0]]
    for row in range(4):
        for node in range(int(tree.used[row])):
            legal = game.mask[row, int(tree.state[row, node, 1])]
            visits = tree.visits[row, node]
            assert not bool(((visits > 0) & ~legal).any())
            if node > 0:  # the visit that made the node, and those that went on
                came = int(tree.visits[row, tree.parent[row, node], tree.parent_action[row, node]])
                assert int(visits.sum()) == (0 if tree.terminal[row, node] else came - 1)
    some = [3, 1]
    part, answers = run(name, game.rows(some), simulations, noise[some])
    assert torch.equal(tree.visits[some], part.visits)
    assert torch.equal(tree.q_values[some], part.q_values)
    assert torch.equal(summary.action[some], answers.action)


def compare_with_mctx(game: RandomGame, case: dict) -> None:
    if case.get("legal"):
        game.mask = torch.ones_like(game.mask)
    root, noise = game.root(), torch.tensor(case["noise"], dtype=torch.float64)
    if case["policy"] == "puct":
        policy = puct()
        root = root._replace(prior=mix(root.prior, noise, case["fraction"]))
    else:
        policy = gumbel(noise, case["simulations"], case["considered"])
    tree = init_tree(root, case["simulations"] + 1, dtype=torch.float64)
    search(tree, game, case["simulations"], policy, case["discount"], case.get("max_depth"))
    summary = summarize(tree, policy)
    assert summary.visits.tolist() == case["visits"]
    for row, (visits, action) in enumerate(zip(case["visits"], case["action"], strict=True)):
        if case["policy"] == "gumbel" or visits.count(max(visits)) == 1:  # else mctx draws
            assert int(summary.action[row]) == action


def table_game(tables: dict) -> RandomGame:
    floats = {"reward", "value", "prior"}
    return RandomGame(
        **{
            name: torch.tensor(table, dtype=torch.float64 if name in floats else None)
            for name, table in tables.items()
        }
    )


@pytest.mark.parametrize("index", range(len(CASES)))
def test_equal_to_mctx_as_stored(index):
    golden = json.loads(GOLDEN.read_text())
    assert {name: golden["cases"][index][name] for name in CASES[index]} == CASES[index]
    compare_with_mctx(table_game(golden["game"]), golden["cases"][index])


@pytest.mark.parametrize("case", [CASES[1], CASES[4], CASES[7], CASES[8]], ids=lambda case: case["policy"])
def test_equal_to_mctx_live(case):
    pytest.importorskip("mctx", reason="install the bench extra to compare with mctx itself")
    for seed in (1, 2):
        tables = draw_game(seed=seed)
        compare_with_mctx(table_game(tables), case | answer(tables, case, seed))


def test_halving():
    assert considered_visits(4, 8) == (0, 0, 0, 0, 1, 1, 2, 2)
    assert considered_visits(1, 3) == (0, 1, 2)
    assert considered_visits(3, 0) == ()


def test_gumbel_without_simulations_draws_from_the_prior():
    game = RandomGame.draw(4, states=6, actions=4, seed=1, legal=1.0, prior=True)
    noise = noise_of(game)
    _, summary = run("gumbel", game, 0, noise)
    assert torch.equal(summary.action, (noise + game.prior[:, 0]).argmax(-1))


def test_gumbel_without_simulations_of_its_own_decides_by_earlier_ones():
    game = RandomGame.draw(4, states=6, actions=4, seed=1, legal=1.0, ended=0.0, prior=True)
    tree, summary = run("gumbel", game, 30, noise_of(game))
    reroot(tree, summary.action)
    policy = gumbel(noise_of(game, 1), 0)
    search(tree, game, 0, policy)
    summary = summarize(tree, policy)
    most = summary.visits.amax(-1)
    assert bool((most > 0).all())
    assert torch.equal(summary.visits.gather(1, summary.action[:, None])[:, 0], most)


def test_the_target_of_gumbel_is_a_policy_over_legal_actions():
    game = RandomGame.draw(3, states=9, actions=5, seed=2, prior=True)
    tree, _ = run("gumbel", game, 20, noise_of(game))
    target = gumbel(noise_of(game), 20).target(root_edges(tree))
    torch.testing.assert_close(target.sum(-1), torch.ones(3, dtype=torch.float64))
    assert bool((target[~game.mask[:, 0]] == 0).all())


@pytest.mark.parametrize("alpha", [0.03, 0.3, 10.0])
def test_dirichlet_noise_is_a_policy_over_legal_actions(alpha):
    uniforms = torch.rand(2000, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mask = torch.tensor([True, False, True, True]).expand(2000, 4)
    noise = dirichlet_noise(uniforms, mask, alpha)
    assert bool((noise[:, 1] == 0).all())
    torch.testing.assert_close(noise.sum(-1), torch.ones(2000, dtype=torch.float64))
    assert torch.equal(dirichlet_noise(uniforms[5:7], mask[5:7], alpha), noise[5:7])
    share, spread = 1 / 3, (1 / 3 * 2 / 3 / (3 * alpha + 1)) ** 0.5  # of Dirichlet(α, α, α)
    assert float(noise[:, 0].mean()) == pytest.approx(share, abs=4 * spread / 2000**0.5)
    assert float(noise[:, 0].std()) == pytest.approx(spread, rel=0.1)


def test_mixing_keeps_what_is_illegal():
    prior = torch.tensor([[0.0, -torch.inf, 1.0]], dtype=torch.float64)
    noise = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    mixed = mix(prior, noise, 0.25).softmax(-1)
    torch.testing.assert_close(mixed, 0.75 * prior.softmax(-1) + 0.25 * noise)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: gumbel(torch.zeros(1, 2), -1), "simulations=-1"),
        (lambda: gumbel(torch.zeros(1, 2), 4, considered=0), "considered=0"),
        (lambda: mix(torch.zeros(1, 2), torch.zeros(1, 2), 1.5), "fraction=1.5"),
        (lambda: dirichlet_noise(torch.zeros(1, 2), torch.ones(1, 2).bool(), 0.0), "alpha=0.0"),
    ],
)
def test_wrong_use_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
