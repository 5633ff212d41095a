"""Rollouts and their record, and random search, which is made of them."""

import pytest
import torch

from agents import Rollout, make_agent, roll, roll_repeatedly
from tests.agents.toys import bandit, contexts, corridor, trap

START = torch.zeros(3, dtype=torch.int64)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def take(rollout, *moves):
    """Make moves, one list per step; rows that ended begin anew."""
    for move in moves:
        rollout.reset_rows(rollout.step(torch.tensor(move)).terminated)


def test_the_best_state_that_was_passed_is_kept():
    rollout = Rollout(trap(), START, keep_best=True)
    take(rollout, [1, 2, 0], [1, 1, 2], [2, 1, 2])
    result = rollout.result()
    assert result.return_.tolist() == [1.0, 4.0, 0.0], "the first before it lost, the last before it began"
    assert result.actions.tolist() == [[1, 0], [2, 1], [0, -1]]
    assert result.evaluations.tolist() == [3, 3, 2], "stopping is free"
    assert result.parts["reward/all"].tolist() == [1.0, 4.0, 0.0]
    assert result.state.calibration.tolist() == [1, 2, 0]
    assert bool(rollout.core.done(result.state).all())
    assert result.words(trap())[0] == ["move 1", "stop"]


def test_rows_that_rest_stay_and_the_last_state_is_the_result():
    rollout = Rollout(trap(), START)
    assert rollout.move(torch.tensor([2, -1, 1])).tolist() == [-1.0, 0.0, 1.0]
    known = rollout.core.transition(START, rollout.state, torch.tensor([1, 1, 0]))
    rollout.move(torch.tensor([1, 1, 0]), known)
    result = rollout.result({"loss": 1.0})
    assert result.actions.tolist() == [[2, 1], [1, -1], [1, 0]]
    assert result.return_.tolist() == rollout.return_.tolist() == [4.0, 1.0, 1.0]
    assert result.evaluations.tolist() == [1, 0, 1], "what was known already is not counted"
    assert (result.state.calibration.tolist(), result.statistics) == ([2, 1, 1], {"loss": 1.0})
    rests = roll(trap(), START, lambda observation, mask: START - 1, 9)
    assert (rests.actions.shape, rests.return_.tolist()) == ((3, 0), [0.0] * 3)


def test_later_plays_replace_only_what_they_better():
    rollout = Rollout(bandit([0.1, 0.9]), START, keep_best=True)
    take(rollout, [1, 2, 1], [2, 1, 1])
    assert rollout.result().actions.tolist() == [[2], [2], [1]]
    torch.testing.assert_close(rollout.result().return_, torch.tensor([0.9, 0.9, 0.1]))


def test_the_horizon_is_an_end_and_what_is_illegal_is_free():
    rollout = Rollout(corridor(2), START, keep_best=True)
    first = rollout.step(torch.tensor([1, 3, 1]))
    assert first.legal.tolist() == [True, False, True]
    second = rollout.step(torch.tensor([2, 1, 0]))
    assert second.terminated.tolist() == [True] * 3
    assert not bool(second.truncated.any())
    assert rollout.result().evaluations.tolist() == [2, 1, 1]
    assert rollout.result().actions.tolist() == [[1, 2], [0, -1], [0, -1]]


def test_episodes_are_repeated_as_long_as_the_budget_lasts():
    result = roll_repeatedly(
        bandit([0.5]), START, lambda observation, mask: torch.ones(3, dtype=torch.int64), 7
    )
    assert result.evaluations.tolist() == [7] * 3
    assert roll_repeatedly(trap(), START, lambda observation, mask: START, 0).actions.shape == (3, 1)


def test_random_search_keeps_the_best_of_whole_episodes():
    agent = make_agent("random_search", budget=24)
    result = agent.plan(trap(), START, seeded())
    assert result.return_.tolist() == [4.0] * 3
    assert result.evaluations.tolist() == [24] * 3
    assert agent.calibrate(trap(), START, seeded()).return_.tolist() == [0.0] * 3, "it has learned nothing"


@pytest.mark.parametrize(
    ("core", "places", "gain"),
    [
        (bandit([0.1, 0.9, -1.0]), START, 0.9),
        (trap(), START, 4.0),
        (bandit([-0.1, -0.2]), START, 0.0),
        (contexts(), torch.arange(4), 0.0),
    ],
    ids=["bandit", "trap", "costs", "contexts"],
)
def test_random_search_finds_the_best_fixed_calibration(core, places, gain):
    agent = make_agent("random_search", budget=16, candidates=8)
    generator = seeded()
    for _ in range(6):
        agent.learn(core, places, generator)
    result = agent.calibrate(core, places, generator)
    assert result.return_.tolist() == pytest.approx([gain] * len(places))


def test_random_search_acts_only_on_what_is_credible():
    core = contexts(2)
    core.earns[:] = torch.tensor([[0.0, 2.0, 2.0], [0.0, -1.9, -1.9]])  # 0.05 on average, and varies much
    places = torch.arange(16) % 2
    gains = {}
    for lcb_coef in (0.0, 2.0):
        agent = make_agent("random_search", budget=4, candidates=2, lcb_coef=lcb_coef)
        agent.learn(core, places, seeded())
        gains[lcb_coef] = float(agent.calibrate(core, places, seeded()).return_.mean())
    assert gains[0.0] == pytest.approx(0.05)
    assert gains[2.0] == 0.0


def test_good_sequences_are_tried_on_more_episodes():
    agent = make_agent("random_search", budget=16, candidates=16)
    generator = seeded()
    for _ in range(8):
        agent.learn(trap(), START, generator)
    race = agent.export_state()
    best = int((race["race/total"] / race["race/count"].clamp_min(1)).argmax())
    assert race["race/sequences"][best].tolist() == [2, 1]
    assert int(race["race/count"][best]) == int(race["race/count"].max())
    assert int(race["race/count"].min()) < int(race["race/count"].max())
