"""The policy that MCTS follows without labels where its network is not sure of anything better."""

from __future__ import annotations

import torch

from agents import make_agent
from agents.mcts.agent import MctsAgent
from agents.mcts.default_policy import DefaultPolicy
from tests.agents.strengths_toy import Strengths


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def trained(name: str, core: Strengths, evaluations: int, **settings: float) -> float:
    """Mean return without labels on new queries, after so many evaluations."""
    agent, generator, spent = make_agent(name, **settings), seeded(), 0
    while spent < evaluations:
        result = agent.learn(core, core.sample(16, generator), generator)
        spent += int(result.evaluations.sum())
    return float(agent.calibrate(core, core.sample(1000, seeded(99)), seeded()).return_.mean())


def test_rows_make_what_is_left_and_legal_in_its_order() -> None:
    default = DefaultPolicy(torch.tensor([3, 3, 1]), actions=4, rows=3, device=torch.device("cpu"))
    mask = torch.ones(3, 4, dtype=torch.bool)
    assert default.next(mask).tolist() == [3, 3, 3]
    default.made(torch.tensor([3, 1, 2]))  # as it says, another one of its actions, one of its own
    default.made(torch.tensor([3, -1, -1]))
    assert default.next(mask).tolist() == [1, 3, 3]
    mask[:, 3] = False
    assert default.next(mask).tolist() == [1, -1, 1]
    default.made(torch.tensor([1, 2, 1]))
    assert default.next(mask).tolist() == [-1, -1, -1]


def test_what_no_observation_tells_is_learned_as_by_fixed() -> None:
    core = Strengths(mean=torch.tensor([1.0, -0.5]), idle=10, horizon=5)
    assert trained("mcts", core, 1500) > 0.95 * 1.25  # its optimum


def test_what_an_observation_tells_is_worth_more_than_the_best_fixed_calibration() -> None:
    core = Strengths(mean=torch.tensor([1.0, 1.0]), slope=0.7, noise=0.5, idle=4)
    fixed, mcts = (trained(name, core, 3000) for name in ("fixed", "mcts"))
    assert abs(fixed - 2.0) < 0.15  # the best that is the same for all
    assert mcts > fixed + 0.2
    assert mcts > trained("mcts", core, 3000, climb=0) + 0.1


def test_leads_are_differences_of_the_members() -> None:
    core = Strengths(mean=torch.tensor([1.0, 1.0]), slope=0.7)
    agent = make_agent("mcts", budget=16)
    assert isinstance(agent, MctsAgent)
    episode = core.sample(16, seeded())
    for seed in range(3):
        agent.learn(core, episode, seeded(seed))
    assert agent._trainer is not None
    network, observation = agent._trainer.network, core.observation(episode, core.initial(episode))
    with torch.no_grad():
        gains = network.scale * network.returns(network.standardize(observation))[..., :-1]
        mean, std = network.leads(observation, torch.arange(16) % 5)
        ends, deviation = network.leads(observation, torch.full((16,), -1))
        prediction = network(observation)
    expected = gains[:, 7, 1] - gains[:, 7, 2]  # row 7 is compared with action 2
    torch.testing.assert_close(mean[7, 1], expected.mean())
    torch.testing.assert_close(std[7, 1], expected.std(correction=0))
    torch.testing.assert_close(mean[7, -1], -gains[:, 7, 2].mean())
    torch.testing.assert_close(ends[:, :-1], prediction.gains)
    torch.testing.assert_close(deviation[:, :-1], prediction.std)


def test_a_bootstrap_sample_has_all_decisions_of_an_episode_or_none() -> None:
    core = Strengths(mean=torch.tensor([1.0, 1.0]))
    agent = make_agent("mcts", budget=16)
    episode = core.sample(6, seeded())
    episode[:, core.strengths] = torch.arange(6.0)  # a feature that tells episodes apart
    agent.learn(core, episode, seeded())
    state = agent.export_state()
    feature, weights = state["replay/observation"][:, 0], state["replay/bootstrap_weights"]
    for number in range(6):
        own = weights[feature == number]
        assert len(own) > 4
        assert bool((own == own[0]).all())
    assert len(weights.unique(dim=0)) == 6
