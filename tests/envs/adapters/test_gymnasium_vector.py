import warnings

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import envs
from tests.envs.adapters.adapter_players import choose, queues

ROWS = 3


def close(ours, theirs, path="info", exact=False):
    """Nested infos are the same, up to rounding or exactly."""
    atol, rtol = (0, 0) if exact else (1e-5, 1e-5)
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys(), path
        for name in theirs:
            close(ours[name], theirs[name], f"{path}/{name}", exact)
    elif theirs.dtype == object:
        for one, other in zip(ours, theirs, strict=True):
            assert (one is None) == (other is None), path
            if other is not None:
                np.testing.assert_allclose(one, other, rtol, atol, err_msg=path)
    else:
        assert ours.dtype == theirs.dtype, path
        np.testing.assert_allclose(ours, theirs, rtol, atol, err_msg=path)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_same_as_gymnasium_of_single_environments(mode):
    core, one, other = queues(2)
    ours = envs.AttentionCalibrationVectorEnv(ROWS, core, one, autoreset_mode=mode)
    theirs = SyncVectorEnv(
        [lambda: envs.AttentionCalibrationEnv(core, other)] * ROWS,
        autoreset_mode=mode,
    )
    assert ours.metadata["autoreset_mode"] is mode
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    rng = np.random.default_rng(0)
    (observation, info), expected = ours.reset(), theirs.reset()
    close(observation, expected[0])
    close(info, expected[1])
    ends = np.zeros(2)
    for number in range(11):
        action = choose(info["action_mask"], rng)
        if number % 4 == 2:  # any action of the space may be taken
            action[0] = np.argmin(info["action_mask"][0])
        *results, info = ours.step(action)
        *expected, expected_info = theirs.step(action)
        for result, right in zip(results, expected, strict=True):
            close(result, right)
        close(info, expected_info)
        ends += results[2].sum(), results[3].sum()
    assert ends.all(), "some episodes stop, some run out of time"
    assert one.next == other.next > ROWS


def test_made_by_gymnasium():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = gymnasium.make_vec(envs.ENV_ID, num_envs=8, vectorization_mode="vector_entry_point")
    assert isinstance(made, envs.AttentionCalibrationVectorEnv)
    observation, info = made.reset(seed=1)
    assert made.observation_space.contains(observation)
    assert info["action_mask"].shape == (8, made.core.actions)
    np.testing.assert_array_equal(info["action_mask"], made.action_masks())
    assert made.observation_space.contains(made.step(made.action_space.sample())[0])
    np.testing.assert_array_equal(made.reset(seed=1)[0], observation)
    assert not np.array_equal(made.reset(seed=2)[0], observation)
    made.close()


def test_one_row_is_the_single_environment():
    single, vector = envs.AttentionCalibrationEnv(), gymnasium.make_vec(envs.ENV_ID)
    for seed in (4, None):
        np.testing.assert_array_equal(single.reset(seed=seed)[0], vector.reset(seed=seed)[0][0])


def test_without_autoreset_rows_are_reset_by_mask():
    core, queue = queues(1)
    env = envs.AttentionCalibrationVectorEnv(ROWS, core, queue, autoreset_mode="Disabled")
    before, _ = env.reset()
    _, _, terminated, _, _ = env.step(np.array([0, 1, 1]))
    assert terminated.tolist() == [True, False, False]
    with pytest.raises(gymnasium.error.ResetNeeded, match=r"rows \[0\] have ended"):
        env.step(np.zeros(ROWS, dtype=int))
    held = env.get_state()
    was = held.clone()
    after, info = env.reset(options={"reset_mask": terminated})
    assert info["_action_mask"].tolist() == [True, False, False]
    assert not np.array_equal(after[0], before[0])
    assert env.get_state().state.step.tolist() == [0, 1, 1]
    assert bool((held == was).all()), "what has been saved stays as it is"
    env.step(np.ones(ROWS, dtype=int))


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_a_restored_state_goes_on_the_same(mode):
    core, queue = queues(1)
    env = envs.AttentionCalibrationVectorEnv(ROWS, core, queue, autoreset_mode=mode)
    _, info = env.reset()
    env.step(np.array([0, 1, 3]))  # one has ended
    saved, drawn = env.get_state(), queue.next
    rng = np.random.default_rng(1)
    actions, expected = [], []
    for _ in range(6):
        actions.append(choose(env.action_masks(), rng))
        expected.append(env.step(actions[-1]))
    for adapter in (env, envs.AttentionCalibrationVectorEnv(ROWS, core, queue, autoreset_mode=mode)):
        adapter.set_state(saved)
        queue.next = drawn
        for action, (*results, info) in zip(actions, expected, strict=True):
            *again, again_info = adapter.step(action)
            np.testing.assert_equal(again, results)
            close(again_info, info, exact=True)


def test_episodes_stay_as_the_source_has_them():
    """A source may hand out pieces of what it keeps."""
    core, queue = queues(1)
    kept = queue.sample(ROWS, torch.Generator())
    untouched = kept.clone()

    class Pool:
        def sample(self, count, generator):
            return kept[:count]

    env = envs.AttentionCalibrationVectorEnv(ROWS, core, Pool(), autoreset_mode="Disabled")
    env.reset()
    env.reset(options={"reset_mask": np.array([False, True, True])})  # with the first two
    assert bool((kept == untouched).all())


def test_one_state_tries_every_action():
    core, queue = queues(1)
    single = envs.AttentionCalibrationEnv(core, queue)
    _, info = single.reset()
    many = envs.AttentionCalibrationVectorEnv(core.actions, core, queue, autoreset_mode="Disabled")
    saved = single.get_state()
    many.set_state(saved[torch.zeros(core.actions, dtype=torch.int64)])
    rewards = many.step(np.arange(core.actions))[1]
    for action in np.flatnonzero(info["action_mask"])[::7]:
        single.set_state(saved)
        assert single.step(action)[1] == pytest.approx(rewards[action], abs=1e-5)


def test_wrong_use_is_named():
    with pytest.raises(ValueError, match="0 rows"):
        envs.AttentionCalibrationVectorEnv(0)
    with pytest.raises(ValueError, match="AutoresetMode"):
        envs.AttentionCalibrationVectorEnv(2, autoreset_mode="never")
    env = envs.AttentionCalibrationVectorEnv(2)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.zeros(2, dtype=int))
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"actions: expected \[2\]"):
        env.step(np.zeros(3, dtype=int))
    with pytest.raises(ValueError, match="action 99 in row 1"):
        env.step(np.array([0, 99]))
    with pytest.raises(ValueError, match="reset_mask: expected bool"):
        env.reset(options={"reset_mask": np.array([1, 0])})
    env.episodes.candidates = 5
    with pytest.raises(ValueError, match="episodes of other sizes"):
        env.reset(options={"reset_mask": np.array([True, False])})
