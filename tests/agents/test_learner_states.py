"""States of agents that learn: resumption, refusal of other states, global generators left alone."""

import random
import re
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest
import torch

from agents import make_agent
from durable.errors import DamagedFileError
from envs import DemoSource, EnvConfig, demo_core
from tests.agents.learners import LIBRARIES, QUICK
from tests.agents.toys import trap
from tests.durable.test_checksums import flipped

START = torch.zeros(8, dtype=torch.int64)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def demo():
    core = demo_core(EnvConfig(families=("level", "token", "stop"), horizon=3))
    return core, DemoSource(core).sample(4, seeded())


def same(left, right):
    assert left.keys() == right.keys()
    for name in left:
        assert torch.equal(left[name], right[name]), name


@pytest.mark.parametrize("name", sorted(QUICK))
def test_it_goes_on_as_if_it_had_not_been_cut_off(demo, name):
    core, episode = demo
    settings = {"dqn": {"learning_starts": 20, "buffer_size": 100}, "mcts": {"replay": 50}}.get(name, {})
    whole, part = (make_agent(name, budget=10, **settings) for _ in range(2))
    for seed in range(2):
        for agent in (whole, part):
            agent.learn(core, episode, seeded(seed))
    resumed = make_agent(name, budget=10, **settings)
    resumed.import_state(part.export_state())
    same(part.export_state(), resumed.export_state())
    for seed in range(2, 4):
        first, second = (agent.learn(core, episode, seeded(seed)) for agent in (whole, resumed))
        assert first.statistics == second.statistics
        assert torch.equal(first.actions, second.actions)
    same(whole.export_state(), resumed.export_state())
    fresh = make_agent(name, budget=10, **settings)
    resumed.import_state({})
    first, second = (agent.learn(core, episode, seeded()) for agent in (fresh, resumed))
    assert torch.equal(first.actions, second.actions)
    same(fresh.export_state(), resumed.export_state())


@pytest.mark.parametrize("name", sorted(QUICK))
def test_a_checkpoint_of_something_else_is_refused(demo, name, tmp_path):
    core, episode = demo
    agent = make_agent(name, budget=4)
    agent.learn(core, episode, seeded())
    agent.save(tmp_path, core)
    make_agent(name, budget=4).load(tmp_path, core)
    other = demo_core(EnvConfig(families=("level", "stop"), horizon=3))
    with pytest.raises(ValueError, match=r"saved with actions of .* names.* but here"):
        make_agent(name).load(tmp_path, other)
    with pytest.raises(ValueError, match=r"learned with .*actions"):
        agent.calibrate(other, episode, seeded())
    with pytest.raises(ValueError, match="saved with agent"):
        make_agent("random").load(tmp_path, core)
    with pytest.raises(ValueError, match="another agent"):
        make_agent(name).import_state({"weights/of": torch.zeros(1)})
    if name in LIBRARIES:
        with pytest.raises(ValueError, match=r"another agent\.net_arch than \[8\]"):
            make_agent(name, net_arch=[8]).import_state(agent.export_state())


def states(*agents):
    return [list(agent.export_state().values()) for agent in agents]


@pytest.mark.parametrize("file", ["agent.json", "agent.safetensors"])
def test_a_file_that_is_damaged_is_named(demo, file, tmp_path):
    core, episode = demo
    agent = make_agent("mcts", budget=4)
    agent.learn(core, episode, seeded())
    agent.save(tmp_path, core)
    assert sorted(found.name for found in tmp_path.iterdir()) == ["agent.json", "agent.safetensors"]
    whole = (tmp_path / file).read_bytes()
    for part in (whole[: len(whole) // 2], b"3", b""):
        (tmp_path / file).write_bytes(part)
        with pytest.raises(DamagedFileError, match=rf"{file} is damaged.*; save the agent again"):
            make_agent("mcts").load(tmp_path, core)
    for bit in random.Random(0).sample(range(8 * len(whole)), 40):
        (tmp_path / file).write_bytes(whole)
        flipped(tmp_path / file, bit)
        other = make_agent("mcts")
        with suppress(DamagedFileError):  # but for a blank between two names, which says nothing
            other.load(tmp_path, core)
            assert all(torch.equal(a, b) for a, b in zip(*states(agent, other), strict=True))
            assert file == "agent.json"
    (tmp_path / file).unlink()
    with pytest.raises(ValueError, match=f"no {file} here"):
        make_agent("mcts").load(tmp_path, core)


@pytest.mark.parametrize("name", sorted(QUICK))
def test_a_state_that_is_not_whole_is_refused(demo, name):
    core, episode = demo
    settings = {"dqn": {"learning_starts": 4, "batch_size": 8}}.get(name, {})
    agent = make_agent(name, budget=10, **settings)
    agent.learn(core, episode, seeded())
    state = agent.export_state()
    other = make_agent(name, budget=10, **settings)
    for lacking in state:
        with pytest.raises(ValueError, match=rf"^{name}: "):
            other.import_state({key: value for key, value in state.items() if key != lacking})
    for key in [key for key in state if key.startswith("optimizer") and state[key].dim()]:
        with pytest.raises(ValueError, match=r"optimizer/.*: expected \["):
            other.import_state(state | {key: state[key][..., :-1]})
    other.import_state(state)
    same(other.export_state(), state)


@pytest.mark.parametrize(("name", "settings"), [("ppo", {"n_steps": 1}), ("a2c", {"n_steps": 1})])
def test_one_row_and_one_step_are_enough(demo, name, settings):
    core, episode = demo
    agent = make_agent(name, budget=5, **settings)
    for seed in range(2):
        assert agent.learn(core, episode[:1], seeded(seed)).evaluations <= 5
    assert all(bool(value.double().isfinite().all()) for value in agent.export_state().values())


@pytest.mark.parametrize("name", LIBRARIES)
def test_batches_may_differ_in_size_and_the_global_generators_are_left_alone(demo, name):
    core, episode = demo
    agent = make_agent(name, budget=6, **QUICK[name])

    def global_state():
        state = np.random.get_state(legacy=False)["state"]["key"].tolist()  # noqa: NPY002
        return torch.get_rng_state().tolist(), state, random.getstate()

    before = global_state()
    for count in (4, 1, 3):
        assert agent.learn(core, episode[:count], seeded()).return_.shape == (count,)
        assert agent.plan(core, episode[:count], seeded()).return_.shape == (count,)
    assert global_state() == before


def test_wrong_settings_are_named():
    for name, setting, value in (
        ("ppo", "batch_size", 0),
        ("ppo", "gamma", 1.5),
        ("a2c", "n_steps", 0),
        ("dqn", "buffer_size", 0),
        ("dqn", "exploration_final_eps", 2.0),
        ("ppo_torchrl", "n_epochs", 0),
        ("ppo_torchrl", "gae_lambda", -0.1),
        ("random_search", "candidates", 1),
        ("random_search", "lcb_coef", -1.0),
        ("fixed", "climb_coef", -1.0),
        ("fixed", "lcb_coef", -1.0),
        ("ppo", "gae_lambda", 3.0),
        ("ppo", "clip_range", -0.2),
        ("ppo", "net_arch", [0]),
        ("a2c", "gae_lambda", 3.0),
        ("dqn", "tau", 2.0),
        ("dqn", "learning_starts", -1),
        ("ppo_torchrl", "learning_rate", -1.0),
    ):
        with pytest.raises(ValueError, match=re.escape(f"agent.{setting}={value}: must")):
            make_agent(name, **{setting: value})
    learned = make_agent("dqn", budget=4)
    learned.learn(trap(), START, seeded())
    with pytest.raises(ValueError, match=r"agent\.buffer_size=20000, but here it is 99"):
        make_agent("dqn", buffer_size=99).import_state(learned.export_state())


def test_names_are_known_without_importing_the_libraries():
    program = (
        "import sys, agents; assert {'ppo', 'dqn', 'a2c', 'ppo_torchrl'} <= set(agents.AGENTS);"
        "assert not {'stable_baselines3', 'sb3_contrib', 'torchrl'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
