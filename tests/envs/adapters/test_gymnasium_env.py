import copy
import warnings

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_sb3

import envs


@pytest.fixture
def env():
    return gymnasium.make(envs.ENV_ID)


def test_clean_under_both_checkers(env):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)  # renders too
        check_env_sb3(env.unwrapped, warn=True)


def test_same_numbers_as_the_core(env):
    env = env.unwrapped
    observation, info = env.reset(seed=3)
    core, episode = env.core, env.get_state().episode
    state = core.initial(episode)
    generator = np.random.default_rng(0)
    ended = False
    while not ended:
        np.testing.assert_array_equal(observation, core.observation(episode, state)[0].numpy())
        np.testing.assert_array_equal(info["action_mask"], env.action_masks())
        action = generator.choice(np.flatnonzero(info["action_mask"]))
        next_state = core.transition(episode, state, torch.tensor([action]))
        expected, _ = core.reward(episode, state, torch.tensor([action]), next_state)
        observation, reward, terminated, truncated, info = env.step(action)
        assert reward == float(expected[0])
        internal = list(core.reward_weights).index("internal")
        change = next_state.potentials[:, internal] - state.potentials[:, internal]
        assert info["reward/internal"] == float(change)
        state, ended = next_state, terminated or truncated
        assert terminated == bool(core.terminal(state)[0])
        assert truncated == bool(core.truncated(state)[0])


def test_seeds_decide(env):
    first, again, other = (env.reset(seed=seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(env.reset()[0], other)


def test_an_illegal_action_costs_a_step_and_nothing_else():
    env = gymnasium.make(envs.ENV_ID, config=envs.EnvConfig(families=("temperature", "stop"), limit=0.35))
    env.reset(seed=0)
    *_, info = env.step(1)
    assert info["legal"]
    _, reward, terminated, truncated, info = env.step(1)
    assert not info["legal"]
    assert (reward, terminated, truncated) == (0.0, False, False)
    assert int(env.unwrapped.get_state().state.step) == 2


def test_stop_and_horizon(env):
    env.reset(seed=0)
    assert env.step(env.unwrapped.action_names.index("stop"))[2:4] == (True, False)
    env.reset(seed=0)
    ends = [env.step(1 + i % 2)[2:4] for i in range(env.unwrapped.core.config.horizon)]
    assert ends[-1] == (False, True)
    assert not any(any(end) for end in ends[:-1])


def test_a_restored_state_goes_on_the_same(env):
    env = env.unwrapped
    env.reset(seed=5)
    env.step(1)
    before = env.get_state()
    first = [env.step(action) for action in (3, 5, 1)]
    env.reset(seed=6)
    env.step(2)
    other = envs.AttentionCalibrationEnv(env.core, env.episodes)
    for adapter in (env, other):  # in place of another episode, and before any
        adapter.set_state(before)
        for action, expected in zip((3, 5, 1), first, strict=True):
            observation, *ends, info = adapter.step(action)
            np.testing.assert_array_equal(observation, expected[0])
            assert ends == list(expected[1:4])
            np.testing.assert_equal(info, expected[4])


def test_wrong_use_is_named():
    with pytest.raises(ValueError, match="both core and episodes"):
        envs.AttentionCalibrationEnv(core=envs.demo_core())
    with pytest.raises(gymnasium.error.ResetNeeded):
        envs.AttentionCalibrationEnv().step(0)
    env = envs.AttentionCalibrationEnv()
    env.reset(seed=0)
    for action in (-1, env.core.actions):
        with pytest.raises(ValueError, match=f"action {action} in row 0"):
            env.step(action)
    with pytest.raises(ValueError, match=r"a snapshot of \[2\] rows"):
        env.set_state(torch.cat([env.get_state(), env.get_state()]))


def test_a_copy_goes_on_the_same_and_says_nothing(env):
    env.reset(seed=5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other = copy.deepcopy(env)
    for action in (1, 2, 0):
        np.testing.assert_array_equal(env.step(action)[0], other.step(action)[0])
    np.testing.assert_array_equal(env.reset()[0], other.reset()[0])
