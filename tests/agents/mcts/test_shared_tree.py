"""The tree that all queries share: what MCTS makes of it without labels, and what it costs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from agents import Rollout, make_agent
from agents.mcts.agent import MctsAgent
from agents.mcts.shared_tree import SharedTree
from tests.agents.strengths_toy import Strengths
from tests.agents.toys import bandit


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def learned(name: str, core: Strengths, evaluations: int, seed: int = 0, **settings: Any) -> Any:
    """The agent after so many evaluations."""
    agent, generator, spent = make_agent(name, **settings), seeded(seed), 0
    while spent < evaluations:
        result = agent.learn(core, core.sample(16, generator), generator)
        spent += int(result.evaluations.sum())
    return agent


def earned(agent: Any, core: Strengths) -> float:
    """Mean return without labels on new queries."""
    return float(agent.calibrate(core, core.sample(1000, seeded(99)), seeded()).return_.mean())


def test_what_no_observation_tells_is_learned_as_by_fixed() -> None:
    core = Strengths(mean=torch.tensor([1.0, -0.5]), idle=10, horizon=5)
    assert earned(learned("mcts", core, 1500), core) > 0.98 * 1.25  # its optimum


@pytest.mark.parametrize("seed", range(2))
def test_what_an_observation_tells_is_worth_more_than_the_best_fixed_calibration(seed: int) -> None:
    core = Strengths(mean=torch.tensor([1.0, 1.0]), slope=0.7, noise=0.5, idle=4)
    fixed, mcts = (earned(learned(name, core, 3000, seed), core) for name in ("fixed", "mcts"))
    assert abs(fixed - 2.0) < 0.15  # the best that is the same for all
    assert mcts > fixed + 0.6


@pytest.mark.parametrize("seed", range(2))
def test_observations_that_say_nothing_do_little_harm(seed: int) -> None:
    core = Strengths(mean=torch.tensor([1.0, 1.0]), slope=0.7, noise=0.5, idle=60)
    fixed, mcts = (earned(learned(name, core, 8000, seed), core) for name in ("fixed", "mcts"))
    assert mcts > fixed + 0.2


def test_it_rests_where_everything_costs() -> None:
    core = bandit([-1.0, -0.5, -0.7])
    agent = make_agent("mcts", budget=16)
    for seed in range(4):
        agent.learn(core, torch.zeros(16, dtype=torch.int64), seeded(seed))
    result = agent.calibrate(core, torch.zeros(3, dtype=torch.int64), seeded())
    assert result.return_.tolist() == [0.0] * 3
    assert result.evaluations.tolist() == [0] * 3


def test_without_exploring_it_rests() -> None:
    core = Strengths(mean=torch.tensor([1.0]))
    agent = learned("mcts", core, 500, explore=0)
    assert agent.calibrate(core, core.sample(5, seeded()), seeded()).evaluations.tolist() == [0] * 5


def test_what_a_batch_tries_does_not_depend_on_its_labels() -> None:
    """Else values would be those of lucky choices, which are not to be had without labels."""
    core = Strengths(mean=torch.tensor([1.0, 1.0]), slope=0.7, noise=0.5, idle=4)
    tree = learned("mcts", core, 1500)._shared_tree(core)
    tries = []
    for change in (0.0, 3.0):
        other = SharedTree.restored(tree.tensors(), 8192, 0.5)
        episode = core.sample(16, seeded(5))
        episode[:, : core.strengths] += change  # the best strengths, which nothing shows
        other.grow(Rollout(core, episode), 16, seeded(6))
        tries.append(other.tries - tree.tries)
    assert tries[0] == tries[1]
    assert sum(tries[0].values()) >= 12


def test_the_budget_is_kept_and_spent() -> None:
    core = Strengths(mean=torch.tensor([2.0, 2.0, 2.0]), horizon=12)
    tree = SharedTree(core.actions, core.horizon, core.stop, 100, 0.5)
    for seed, budget in enumerate((1, 5, 16, 16)):
        core.transitions = 0
        rollout = Rollout(core, core.sample(9, seeded(seed)))
        tree.grow(rollout, budget, seeded(seed))
        assert core.transitions == int(rollout.evaluations.sum()) == 9 * budget


def test_a_step_up_and_down_is_no_calibration_of_its_own() -> None:
    core = Strengths(mean=torch.tensor([1.1]), horizon=3)
    tree = SharedTree(core.actions, core.horizon, core.stop, 100, 0.5)
    tree.grow(Rollout(core, core.sample(9, seeded())), 30, seeded())
    assert {(1,), (1, 1), (1, 1, 1), (2,), (2, 2), (2, 2, 2)} == set(tree.values.columns)


def test_rows_make_the_calibrations_that_suit_them() -> None:
    core = Strengths(mean=torch.tensor([1.0, 1.0]), slope=0.7, idle=2)
    agent = learned("mcts", core, 3000, lcb_coef=0.0)
    assert isinstance(agent, MctsAgent)
    episode = core.sample(50, seeded(7))
    made = agent.calibrate(core, episode, seeded())
    tree = agent._shared_tree(core)
    expected = tree.values.predict(core.observation(episode, core.initial(episode)))
    for row, values in enumerate(expected):
        best = tree.values.fitted[int(values.argmax())]
        assert sorted(a for a in made.actions[row].tolist() if a > 0) == sorted(best)
    assert len(made.calibration.unique(dim=0)) > 5


def test_the_tree_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.mcts.shared_tree.MOST", 20)
    core = Strengths(mean=torch.linspace(-1, 1, 12))
    tree = learned("mcts", core, 3000)._shared_tree(core)
    assert len(tree.values.columns) <= 20
    assert tree.values.total.shape[1] == len(tree.values.columns)


def test_it_goes_on_exactly_after_it_was_saved(tmp_path: Any) -> None:
    core = Strengths(mean=torch.tensor([1.5, -1.0]), slope=0.5, noise=1.0, idle=3)
    whole, part = (learned("mcts", core, 2000, episodes=60) for _ in range(2))
    part.save(tmp_path, core)
    resumed = make_agent("mcts", episodes=60)
    resumed.load(tmp_path, core)
    for seed in range(3):
        for agent in (whole, resumed):
            agent.learn(core, core.sample(16, seeded(seed)), seeded(seed))
    ours, theirs = whole.export_state(), resumed.export_state()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert len(ours["shared/observations"]) == 60
    assert earned(whole, core) == earned(resumed, core)


def test_the_more_sure_it_must_be_the_less_it_departs_from_the_best_fixed_calibration() -> None:
    core = Strengths(mean=torch.tensor([1.0, 1.0]), slope=0.3, noise=1.0, idle=10)
    tree = learned("mcts", core, 3000)._shared_tree(core)
    episode = core.sample(200, seeded(7))
    observation = core.observation(episode, core.initial(episode))
    tree.lcb_coef = 1e6
    (fixed,) = tree.sequences(observation).unique(dim=0)
    departing = []
    for tree.lcb_coef in (0.0, 1.0, 3.0):
        departing.append(int((tree.sequences(observation) != fixed).any(1).sum()))
    assert departing[0] > departing[1] > departing[2]
