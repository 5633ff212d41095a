import matplotlib
import numpy as np
import pytest
import torch

import envs
from envs.adapters.render import attention_shares, draw
from envs.adapters.sb3 import CalibrationVecEnv


def test_a_picture_shows_what_has_changed():
    env = envs.AttentionCalibrationEnv(render_mode="rgb_array")
    backend = matplotlib.rcParams._get_backend_or_none()
    env.reset(seed=1)
    first = env.render()
    assert first.dtype == np.uint8
    assert first.shape == (360, 960, 3)
    assert first.std() > 10, "not blank"
    np.testing.assert_array_equal(env.render(), first)
    env.step(env.action_names.index("lower level 1"))
    assert not np.array_equal(env.render(), first)
    assert matplotlib.rcParams._get_backend_or_none() == backend


@pytest.mark.parametrize("family", ["memory", "hubness"])
def test_a_picture_tells_of_the_library(family):
    core = envs.demo_core(envs.EnvConfig(families=(family,)))
    env = envs.AttentionCalibrationEnv(core, envs.DemoSource(core), render_mode="rgb_array")
    env.reset(seed=1)
    first = env.render()
    env.step(0)
    assert not np.array_equal(env.render(), first)


@pytest.mark.parametrize("family", [name for name in envs.FAMILIES if name not in ("memory", "hubness")])
def test_shares_are_those_of_all_attention(family):
    core = envs.demo_core(envs.EnvConfig(families=(family,)))
    env = envs.AttentionCalibrationEnv(core, envs.DemoSource(core))
    env.reset(seed=2)
    now = env.get_state()
    before = attention_shares(core, now, now.state.calibration)[0]
    assert bool((before >= 0).all())
    assert before.shape == (core.haf.level_sizes[0],)
    # Independently: the mean gate of the level, as each token's map sums to one.
    attention = now.episode.attention
    gates = attention.gate_logits[0].softmax(-1)[:, 0]
    torch.testing.assert_close(before.sum(), attention.token_logits[0].softmax(-1) @ gates)
    for action in np.flatnonzero(env.action_masks()):  # every family shows, whatever it is about
        env.set_state(now)
        env.step(action)
        after = attention_shares(core, now, env.get_state().state.calibration)[0]
        if not torch.allclose(after, before, atol=1e-4):
            return
    pytest.fail("no action of this family can be seen")


def test_wrong_use_is_named():
    env = envs.AttentionCalibrationEnv()
    env.reset(seed=0)
    assert env.render() is None
    with pytest.raises(ValueError, match=r"\[2\] episodes: expected \[1\]"):
        draw(env.core, torch.cat([env.get_state(), env.get_state()]))
    with pytest.raises(ValueError, match="render_mode='human'"):
        envs.AttentionCalibrationEnv(render_mode="human")


def test_every_row_is_drawn():
    vector = envs.AttentionCalibrationVectorEnv(2, render_mode="rgb_array")
    vector.reset(seed=1)
    pictures = vector.render()
    assert [picture.shape for picture in pictures] == [(360, 960, 3)] * 2
    single = envs.AttentionCalibrationEnv(vector.core, vector.episodes, render_mode="rgb_array")
    single.set_state(vector.get_state()[1:])
    np.testing.assert_array_equal(single.render(), pictures[1])
    sb3 = CalibrationVecEnv(2, vector.core, vector.episodes, render_mode="rgb_array")
    sb3.reset()
    sb3.set_state(vector.get_state())
    np.testing.assert_array_equal(sb3.get_images()[0], pictures[0])
    assert envs.AttentionCalibrationVectorEnv(2).render() is None
    assert CalibrationVecEnv(2).get_images() == [None, None]
    for adapter in (envs.AttentionCalibrationVectorEnv, CalibrationVecEnv):
        with pytest.raises(ValueError, match="render_mode='human'"):
            adapter(2, render_mode="human")
