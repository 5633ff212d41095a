"""Learning to act without labels on problems with known answers, and what it costs."""

from inspect import signature

import pytest
import torch
from stable_baselines3.common.vec_env import VecNormalize

from agents import AGENTS, make_agent
from agents.torchrl.ppo_learner import ReturnScale
from envs import DemoSource, EnvConfig, RepeatedEpisodeRunner, demo_core
from tests.agents.learners import LIBRARIES, QUICK
from tests.agents.toys import bandit, contexts, corridor, trap

START = torch.zeros(8, dtype=torch.int64)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def demo():
    core = demo_core(EnvConfig(families=("level", "token", "stop"), horizon=3))
    return core, DemoSource(core).sample(4, seeded())


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize(
    ("make", "places", "answer"),
    [(contexts, torch.arange(8) % 4, 1.0), (trap, START, 4.0), (corridor, START, 1.0)],
    ids=["contexts", "trap", "corridor"],
)
def test_it_learns_what_is_known_to_be_right(name, make, places, answer):
    core, generator = make(), seeded()
    agent = make_agent(name, budget=24, **QUICK[name])
    assert float(agent.calibrate(core, places, generator).return_.mean()) < 0.5 * answer
    for _ in range(8):
        agent.learn(core, places, generator)
    learned = agent.calibrate(core, places, generator)
    assert float(learned.return_.mean()) == pytest.approx(answer, abs=0.01)


@pytest.mark.parametrize("name", LIBRARIES)
def test_it_stops_where_everything_costs(name):
    core, generator = bandit([-1.0, -0.5, -0.7]), seeded()
    agent = make_agent(name, budget=24, **QUICK[name])
    for _ in range(8):
        agent.learn(core, START, generator)
    result = agent.calibrate(core, START, generator)
    assert result.return_.tolist() == [0.0] * 8
    assert result.evaluations.tolist() == [0] * 8


@pytest.mark.parametrize("name", sorted(set(AGENTS) - {"first_legal"}))
def test_what_is_spent_is_within_the_budget_and_not_far_below(demo, name):
    core, episode = demo
    agent = make_agent(name, budget=16)
    for seed in range(2):
        result = agent.learn(core, episode, seeded(seed))
        assert bool((result.evaluations <= 16).all())
        if name in QUICK:
            assert float(result.evaluations.float().mean()) > 0.4 * 16
    table = corridor()
    learned = make_agent(name, budget=5, **QUICK.get(name, {})).learn(table, START, seeded())
    assert table.transitions == int(learned.evaluations.sum())


@pytest.mark.parametrize("name", LIBRARIES)
def test_an_illegal_action_is_never_taken(monkeypatch, name):
    taken = []
    step = RepeatedEpisodeRunner.step

    def watched(rows, *arguments):
        done = step(rows, *arguments)
        taken.append(done.legal)
        return done

    monkeypatch.setattr(RepeatedEpisodeRunner, "step", watched)
    agent = make_agent(name, budget=16, **QUICK[name])
    for seed in range(3):
        agent.learn(corridor(), START, seeded(seed))
        agent.plan(corridor(), START, seeded(seed))
    assert len(taken) >= 80
    assert bool(torch.stack(taken).all())


@pytest.mark.parametrize("name", sorted(QUICK))
def test_without_stop_it_acts_up_to_the_horizon(name):
    core = demo_core(EnvConfig(families=("temperature",), horizon=2))
    episode = DemoSource(core).sample(4, seeded())
    agent = make_agent(name, budget=8)
    result = agent.learn(core, episode, seeded())
    assert bool((result.return_ >= 0).all())
    assert bool((agent.calibrate(core, episode, seeded()).evaluations <= 2).all())


def test_rewards_are_scaled_and_clipped_as_stable_baselines_does():
    scale, largest = ReturnScale(), signature(VecNormalize).parameters["clip_reward"].default
    rewards = torch.randn(6, 50, generator=seeded())
    scale.update(rewards, torch.ones_like(rewards, dtype=torch.bool), 0.99)
    found = scale.scaled(torch.tensor([1.0, 1e6, -1e6]))
    torch.testing.assert_close(found[0], 1 / rewards.std(correction=0), rtol=1e-4, atol=0.0)
    assert found[1:].tolist() == [largest, -largest]
