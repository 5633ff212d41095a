"""The adapters play any decision process that is like the core, here a table of moves."""

import gymnasium
import numpy as np
import pytest
import torch
from torchrl.envs.utils import check_env_specs

import envs
from envs.adapters.sb3 import CalibrationVecEnv
from envs.adapters.torchrl import CalibrationTorchRLEnv
from tests.agents.toys import corridor, trap

START = torch.zeros(3, dtype=torch.int64)


class Same:
    """A source of rows that all begin at the same place."""

    def sample(self, count, generator):
        return torch.zeros(count, dtype=torch.int64)


def test_one_row_through_gymnasium():
    env = envs.AttentionCalibrationEnv(trap(), Same())
    _, info = env.reset(seed=0)
    assert info["action_mask"].tolist() == [True] * 3
    observation, reward, terminated, truncated, info = env.step(np.int64(2))
    assert (observation.tolist(), reward, terminated, truncated) == ([0, 0, 1], -1.0, False, False)
    assert info["reward/all"] == -1.0
    _, reward, terminated, truncated, _ = env.step(np.int64(1))
    assert (reward, terminated, truncated) == (5.0, True, False), "its horizon is not told apart from an end"
    with pytest.raises(ValueError, match="only attention is drawn"):
        envs.AttentionCalibrationEnv(trap(), Same(), render_mode="rgb_array")


def test_many_rows_through_gymnasium():
    env = envs.AttentionCalibrationVectorEnv(3, corridor(2), Same(), autoreset_mode="SameStep")
    env.reset(seed=0)
    _, reward, terminated, _, info = env.step(np.array([0, 1, 3]))  # stops, goes on, does what is illegal
    assert (reward.tolist(), terminated.tolist()) == ([0.0] * 3, [True, False, False])
    assert info["legal"].tolist() == [False, True, False]
    assert info["final_info"]["legal"].tolist() == [True, False, False]
    _, reward, terminated, _, _ = env.step(np.array([1, 2, 1]))
    assert (reward.tolist(), terminated.tolist()) == ([0.0, 1.0, 0.0], [False, True, True])


@pytest.mark.parametrize("repeat", [False, True])
def test_stable_baselines_adapter(repeat):
    rows = envs.RepeatedEpisodeRunner(trap(), START) if repeat else envs.EpisodeRunner(trap(), Same(), 3)
    env = CalibrationVecEnv(3, rows=rows)
    env.reset()
    env.step(np.array([2, 2, 0]))
    observation, reward, done, infos = env.step(np.array([1, 2, 1]))
    assert (reward.tolist(), done.tolist()) == ([5.0, 0.0, 1.0], [True, True, False])
    assert observation.argmax(1).tolist() == [0, 0, 1]
    assert infos[0]["terminal_observation"].tolist() == [0, 0, 1]
    with pytest.raises(ValueError, match="expected 2 rows"):
        CalibrationVecEnv(2, rows=rows)


def test_torchrl_adapter():
    check_env_specs(CalibrationTorchRLEnv(3, corridor(), Same()), seed=0, break_when_any_done="both")
    env = CalibrationTorchRLEnv(3, rows=envs.RepeatedEpisodeRunner(trap(), START))
    step = env.step(env.reset().set("action", torch.tensor([0, 1, 2])))["next"]
    assert step["reward"].flatten().tolist() == [0.0, 1.0, -1.0]
    assert step["done"].flatten().tolist() == [True, False, False]
    with pytest.raises(ValueError, match="no core, episodes or config"):
        CalibrationTorchRLEnv(3, trap(), Same(), rows=env.rows)


def test_rows_repeat_their_own_episode():
    core = envs.demo_core(envs.EnvConfig(families=("level", "stop"), horizon=2))
    episode = envs.DemoSource(core).sample(3, torch.Generator().manual_seed(1))
    rows = envs.RepeatedEpisodeRunner(core, episode)
    rows.reset()
    first = rows.observation()
    rows.step(torch.tensor([0, 1, 2]))
    went_on = rows.observation()[1:]
    rows.reset_rows(torch.tensor([True, False, False]))
    assert torch.equal(rows.observation()[0], first[0])
    assert torch.equal(rows.observation()[1:], went_on)
    rows.step(torch.tensor([1, 1, 1]))
    rows.reset_rows(torch.ones(3, dtype=torch.bool))
    assert torch.equal(rows.observation(), first)
    assert torch.equal(rows.first.step, torch.zeros(3, dtype=torch.int64))


def test_a_process_that_knows_more_tells_more():
    assert gymnasium.make(envs.ENV_ID).reset(seed=0)[1]["potential"] != 0
    assert "potential" not in envs.AttentionCalibrationEnv(trap(), Same()).reset()[1]
