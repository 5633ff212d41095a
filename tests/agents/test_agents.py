"""Agents on small problems: budgets, results, labels, resumption, wrong use."""

import pytest
import torch

from agents import AGENTS, make_agent
from agents.search import summarize
from agents.search.views.plot import best_line
from envs import DemoSource, EnvConfig, RewardConfig, demo_core
from tests.agents.toys import bandit, corridor, trap

SEARCHES = [
    {"policy": "uct"},
    {"policy": "puct", "exploration": 8.0},
    {"policy": "gumbel", "gumbel_scale": 0.0},
]
START = torch.zeros(6, dtype=torch.int64)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def demo():
    core = demo_core(EnvConfig(horizon=4))
    return core, DemoSource(core).sample(6, seeded())


def same(left, right):
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("policy", SEARCHES, ids=[policy["policy"] for policy in SEARCHES])
def test_mcts_escapes_the_trap_that_greedy_falls_into(policy):
    mcts = make_agent("mcts", budget=32, guide=False, **policy).plan(trap(), START, seeded())
    greedy = make_agent("greedy", budget=32).plan(trap(), START, seeded())
    assert mcts.return_.tolist() == [4.0] * 6
    assert mcts.actions.tolist() == [[2, 1]] * 6
    assert greedy.return_.tolist() == [1.0] * 6
    assert greedy.actions.tolist() == [[1, 0]] * 6


@pytest.mark.parametrize("policy", SEARCHES, ids=[policy["policy"] for policy in SEARCHES])
@pytest.mark.parametrize("final_move", ["best", "visits"])
def test_mcts_solves_bandit_and_corridor(final_move, policy):
    agent = make_agent("mcts", budget=10, final_move=final_move, **policy)
    assert agent.plan(bandit([0.1, 0.9, -1.0, 0.5]), START, seeded()).return_.tolist() == pytest.approx(
        [0.9] * 6
    )
    agent = make_agent("mcts", budget=10, final_move=final_move, **policy)
    result = agent.plan(corridor(), START, seeded())
    assert result.return_.tolist() == [1.0] * 6
    assert result.actions.tolist() == [[1, 2, 3, 1, 2]] * 6


def test_nothing_to_gain_is_left_alone():
    for name in sorted(set(AGENTS) - {"random", "first_legal"}):
        result = make_agent(name, budget=9).plan(bandit([-1.0, -0.5]), START, seeded())
        assert result.return_.tolist() == [0.0] * 6


@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize("budget", [0, 3, 16])
def test_budgets_are_kept_and_counted(demo, name, budget):
    core, episode = demo
    result = make_agent(name, budget=budget).plan(core, episode, seeded())
    assert bool((result.evaluations <= budget).all())
    table = corridor()
    result = make_agent(name, budget=budget).plan(table, START, seeded())
    assert table.transitions == int(result.evaluations.sum())


@pytest.mark.parametrize("name", AGENTS)
def test_results_add_up(demo, name):
    core, episode = demo
    result = make_agent(name, budget=16).plan(core, episode, seeded(1))
    gain = core.potential(result.state) - core.potential(core.initial(episode))
    torch.testing.assert_close(result.return_, gain, atol=1e-5, rtol=1e-5)
    # Playing the actions again leads to the same calibration.
    state = core.initial(episode)
    for action in result.actions.unbind(1):
        state = core.transition(episode, state, action, active=action >= 0)
    for field in ("level", "temperature", "head", "token", "association"):
        assert torch.equal(getattr(state.calibration, field), getattr(result.calibration, field))
    if result.parts:
        parts = sum(result.parts[f"reward/weighted/{part}"] for part in ("internal", "external", "kl"))
        torch.testing.assert_close(parts, result.return_, atol=1e-5, rtol=1e-5)
    assert len(result.words(core)) == 6


@pytest.mark.parametrize("name", AGENTS)
def test_labels_are_not_needed_and_not_used(demo, name):
    core, episode = demo
    agent = make_agent(name, budget=16)
    agent.learn(core, episode, seeded(1))
    other = episode.clone()
    other.positives = torch.zeros_like(episode.positives)
    first, second = (agent.calibrate(core, e, seeded(2)) for e in (episode, other))
    assert torch.equal(first.actions, second.actions)
    if not agent.acts_without_labels:
        assert bool((first.evaluations == 0).all())


def test_planning_does_not_lose_and_more_budget_gains():
    core = demo_core(EnvConfig(horizon=4, reward=RewardConfig(alpha=0.5)))
    episode = DemoSource(core).sample(6, seeded())
    returns = [
        float(make_agent("mcts", budget=budget).plan(core, episode, seeded()).return_.mean())
        for budget in (4, 32, 128)
    ]
    assert 0 <= returns[0] < returns[1] < returns[2]


def test_a_search_to_look_at_spends_the_whole_budget(demo):
    core, episode = demo
    tree = make_agent("mcts", budget=40).tree(core, episode, seeded())
    visits = summarize(tree).visits.sum(-1)
    assert bool((visits == 40).all())
    assert bool((tree.used <= 41).all())
    assert len(best_line(tree)) >= 1
    longer = make_agent("mcts", budget=40).tree(core, episode, seeded(), 70)
    assert bool((summarize(longer).visits.sum(-1) == 70).all())


@pytest.mark.parametrize("name", AGENTS)
def test_the_generator_decides(demo, name):
    core, episode = demo
    agents = [make_agent(name, budget=16) for _ in range(2)]
    for seed in range(2):
        first, second = (agent.learn(core, episode, seeded(seed)) for agent in agents)
        assert torch.equal(first.actions, second.actions)
        assert first.statistics == second.statistics
    same(agents[0].export_state(), agents[1].export_state())


def test_a_row_plans_by_itself(demo):
    core, episode = demo
    whole = make_agent("mcts", budget=16).plan(core, episode, seeded())
    part = make_agent("mcts", budget=16).plan(core, episode[:3], seeded())
    assert torch.equal(whole.actions[:3], part.actions)


@pytest.mark.parametrize("policy", ["puct", "gumbel"])
@pytest.mark.parametrize("final_move", ["best", "visits"])
def test_other_searches_keep_the_budget_and_learn(demo, policy, final_move):
    core, episode = demo
    settings = {
        "policy": policy,
        "final_move": final_move,
        "num_searches": 2,
        "dirichlet_fraction": 0.25,
        "max_num_considered_actions": 6,
    }
    agent = make_agent("mcts", budget=12, batch_size=16, **settings)
    first = agent.learn(core, episode, seeded())
    assert bool((first.evaluations <= 12).all())
    assert bool((first.return_ >= -1e-5).all())
    assert first.statistics["loss/policy"] > 0
    again = make_agent("mcts", budget=12, batch_size=16, **settings)
    assert torch.equal(first.actions, again.learn(core, episode, seeded()).actions)
    agent.plan(core, episode, seeded(1))  # guided by what was learned


def test_resume_is_exact(demo, tmp_path):
    core, episode = demo
    agent = make_agent("mcts", budget=8, replay=20, batch_size=8)
    for seed in range(3):
        agent.learn(core, episode, seeded(seed))
    agent.save(tmp_path / "agent", core)
    resumed = make_agent("mcts", budget=8, replay=20, batch_size=8)
    resumed.load(tmp_path / "agent", core)
    same(agent.export_state(), resumed.export_state())
    for seed in range(3, 6):
        first, second = (a.learn(core, episode, seeded(seed)) for a in (agent, resumed))
        assert first.statistics == second.statistics
        assert torch.equal(first.actions, second.actions)
    same(agent.export_state(), resumed.export_state())


def test_what_is_exported_does_not_change(demo):
    core, episode = demo
    agent = make_agent("mcts", budget=8)
    agent.learn(core, episode, seeded())
    exported = agent.export_state()
    copy = {name: value.clone() for name, value in exported.items()}
    agent.learn(core, episode, seeded(1))
    same(exported, copy)


def test_without_stop_a_plan_may_rest():
    core = demo_core(EnvConfig(families=("temperature",), horizon=3))
    episode = DemoSource(core).sample(8, seeded())
    for name in ("mcts", "greedy"):
        result = make_agent(name, budget=12).learn(core, episode, seeded())
        assert bool((result.return_ >= 0).all())


def test_wrong_use_is_named(demo, tmp_path):
    core, episode = demo
    with pytest.raises(
        ValueError,
        match=r"agent=mtcs: .* did you mean 'mcts'\? Known: a2c, dqn, .*fixed, greedy, mcts, none, ppo",
    ):
        make_agent("mtcs")
    with pytest.raises(ValueError, match=r"agent=mcts: .*'depth'"):
        make_agent("mcts", depth=3)
    with pytest.raises(ValueError, match=r"agent\.budget=-1"):
        make_agent("greedy", budget=-1)
    with pytest.raises(ValueError, match=r"agent\.policy=alpha: must be one of uct, puct, gumbel"):
        make_agent("mcts", policy="alpha")
    with pytest.raises(ValueError, match=r"agent\.dirichlet_fraction=2"):
        make_agent("mcts", policy="puct", dirichlet_fraction=2)
    with pytest.raises(ValueError, match=r"agent\.max_num_considered_actions=0"):
        make_agent("mcts", max_num_considered_actions=0)
    with pytest.raises(ValueError, match=r"agent\.final_move=first"):
        make_agent("mcts", final_move="first")
    for setting, value in (
        ("explore", -3),  # would be added to the budget
        ("episodes", 0),
        ("updates", -1),
        ("batch_size", 0),
        ("hidden", 0),
        ("discount", 1.5),
        ("exploration", float("nan")),
        ("learning_rate", 0.0),
    ):
        with pytest.raises(ValueError, match=rf"agent\.{setting}={value}: must"):
            make_agent("mcts", **{setting: value})
    with pytest.raises(ValueError, match=r"no agent\.json"):
        make_agent("mcts").load(tmp_path, core)
    agent = make_agent("mcts", budget=4)
    agent.learn(core, episode, seeded())
    agent.save(tmp_path, core)
    with pytest.raises(ValueError, match=r"saved with actions of 73 names, 'stop' to .*, but here"):
        make_agent("mcts").load(tmp_path, demo_core(EnvConfig(families=("level", "stop"))))
    with pytest.raises(ValueError, match="saved with agent 'mcts', but here it is 'none'"):
        make_agent("none").load(tmp_path, core)
    with pytest.raises(ValueError, match=r"agent.hidden, .* = \(128, 8192\), but here they are \(64"):
        make_agent("mcts", hidden=64).load(tmp_path, core)
    with pytest.raises(ValueError, match="learned with actions of size 73, but here it is 7"):
        agent.calibrate(demo_core(EnvConfig(families=("level", "stop"))), episode, seeded())
