import copy
import pickle

import numpy as np
import pytest
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

import envs
from envs.adapters.sb3 import CalibrationVecEnv
from tests.envs.adapters.adapter_players import choose, queues

ROWS = 3


def test_same_as_many_single_environments():
    core, one, other = queues(2)
    ours = CalibrationVecEnv(ROWS, core, one)
    theirs = DummyVecEnv([lambda: envs.AttentionCalibrationEnv(core, other)] * ROWS)
    rng = np.random.default_rng(1)
    np.testing.assert_allclose(ours.reset(), theirs.reset(), atol=1e-5)
    ended = cut = 0
    for _ in range(11):
        masks = get_action_masks(ours)
        np.testing.assert_array_equal(masks, get_action_masks(theirs))
        action = choose(masks, rng)
        *results, infos = ours.step(action)
        *expected, expected_infos = theirs.step(action)
        for result, right in zip(results, expected, strict=True):
            assert result.dtype == right.dtype
            np.testing.assert_allclose(result, right, atol=1e-5)
        for row, (info, right) in enumerate(zip(infos, expected_infos, strict=True)):
            assert info.keys() == right.keys()
            np.testing.assert_array_equal(info["action_mask"], ours.action_masks()[row])
            for name in info.keys() - {"action_mask"}:
                np.testing.assert_allclose(info[name], right[name], atol=1e-5, err_msg=name)
        cut += sum(info["TimeLimit.truncated"] for info in infos)
        ended += sum("terminal_observation" in info for info in infos)
    assert ended > cut > 0, "some episodes stop, some run out of time"


def test_a_maskable_policy_learns_on_it():
    env = VecMonitor(CalibrationVecEnv(4))
    assert is_masking_supported(env)
    model = MaskablePPO("MlpPolicy", env, n_steps=8, batch_size=16, n_epochs=1, seed=0, device="cpu")
    model.learn(64)
    assert model.num_timesteps == 64
    assert len(model.ep_info_buffer) > 0
    action, _ = model.predict(env.reset(), action_masks=get_action_masks(env))
    assert all(info["legal"] for info in env.step(action)[3])


def test_seeds_decide():
    env = CalibrationVecEnv(2)
    env.seed(1)
    first = env.reset()
    assert not np.array_equal(env.reset(), first)
    env.seed(1)
    np.testing.assert_array_equal(env.reset(), first)


def test_rows_are_asked_one_by_one():
    env = CalibrationVecEnv(ROWS)
    env.reset()
    np.testing.assert_array_equal(env.env_method("action_masks", indices=1)[0], env.action_masks()[1])
    assert [mask().shape for mask in env.get_attr("action_masks")] == [(env.core.actions,)] * ROWS
    assert env.get_attr("action_names", [0, 2]) == [env.core.action_names] * 2
    assert not env.has_attr("nothing")
    with pytest.raises(AttributeError, match="cannot be set"):
        env.set_attr("core", None)
    with pytest.raises(ValueError, match="action 99 in row 2"):
        env.step(np.array([0, 0, 99]))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_goes_on_the_same(copied):
    env = CalibrationVecEnv(ROWS)
    env.seed(4)
    env.reset()
    other = copied(env)
    for _ in range(env.core.horizon + 1):  # into the next episodes, which both draw alike
        action = choose(env.action_masks(), np.random.default_rng(2))
        results, others = env.step(action), other.step(action)
        for result, same in zip(results[:3], others[:3], strict=True):
            np.testing.assert_array_equal(result, same)


def test_actions_are_waited_for_once():
    env = CalibrationVecEnv(ROWS)
    env.reset()
    env.step(np.ones(ROWS, dtype=np.int64))
    with pytest.raises(RuntimeError, match="no actions to wait for; call step_async"):
        env.step_wait()
