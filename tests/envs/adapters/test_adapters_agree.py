"""The same episodes and actions give the same numbers through every adapter."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torchrl.envs import step_mdp

import envs
from envs.adapters.sb3 import CalibrationVecEnv
from envs.adapters.torchrl import CalibrationTorchRLEnv
from tests.envs.adapters.adapter_players import CONFIG, choose, queues

ROWS = 4


def same(name, *values):
    """All are equal: exactly if they are flags, else up to the rounding of batched products."""
    first = np.asarray(values[0])
    for value in values[1:]:
        assert_allclose(
            np.asarray(value), first, rtol=0, atol=0 if first.dtype == bool else 1e-5, err_msg=name
        )


def test_every_face_gives_the_same_numbers():
    core, base, *sources = queues(5)
    episode = base.sample(ROWS, torch.Generator())
    state = core.initial(episode)
    singles = [envs.AttentionCalibrationEnv(core, sources[0]) for _ in range(ROWS)]
    vector = envs.AttentionCalibrationVectorEnv(ROWS, core, sources[1], autoreset_mode="Disabled")
    torchrl = CalibrationTorchRLEnv(ROWS, core, sources[2])
    sb3 = CalibrationVecEnv(ROWS, core, sources[3])

    starts = [single.reset() for single in singles]
    seen, info = vector.reset()
    tensors = torchrl.reset()
    expected = core.observation(episode, state)
    same("observation", expected, [s[0] for s in starts], seen, tensors["observation"], sb3.reset())
    mask = core.mask(episode, state)
    same("mask", mask, [s[1]["action_mask"] for s in starts], info["action_mask"], tensors["action_mask"])
    same("mask", mask, sb3.action_masks())

    rng, going = np.random.default_rng(3), np.ones(ROWS, dtype=bool)
    ended_by_stop = ended_by_time = 0
    for number in range(CONFIG.horizon):
        action = choose(mask.numpy(), rng, stop=0)
        if number == 1:
            action[-1] = 0  # the last one stops, the others run out of time
        chosen = torch.from_numpy(action)
        next_state = core.transition(episode, state, chosen)
        reward, parts = core.reward(episode, state, chosen, next_state)
        observation, mask = core.observation(episode, next_state), core.mask(episode, next_state)
        terminated, truncated = core.terminal(next_state), core.truncated(next_state)

        one = [single.step(a) for single, a in zip(singles, action, strict=True)]
        vector.set_state(_open(vector.get_state()))
        seen, rewards, stops, cuts, info = vector.step(action)
        step = torchrl.step(tensors.set("action", chosen))["next"]
        tensors = step_mdp(tensors)
        finals, sb3_rewards, dones, infos = sb3.step(action)
        for row in np.flatnonzero(dones):
            finals[row] = infos[row]["terminal_observation"]

        # Stable-Baselines3 goes on to the next episode where the others stay: compare up to the end.
        on = np.flatnonzero(going)
        adapters = [s[0] for s in one], seen, step["observation"]
        same("observation", observation, *adapters)
        same("observation", observation[on], finals[on])
        same("reward", reward, [s[1] for s in one], rewards, step["reward"].squeeze(-1))
        same("reward", reward[on], sb3_rewards[on])
        same("terminated", terminated, [s[2] for s in one], stops, step["terminated"].squeeze(-1))
        same("truncated", truncated, [s[3] for s in one], cuts, step["truncated"].squeeze(-1))
        same("done", (terminated | truncated)[on], dones[on], step["done"].squeeze(-1)[on])
        same("truncated", truncated[on], [infos[row]["TimeLimit.truncated"] for row in on])
        same("mask", mask, [s[4]["action_mask"] for s in one], info["action_mask"], step["action_mask"])
        still = np.flatnonzero(going & ~dones)
        same("mask", mask[still], sb3.action_masks()[still])
        for name, part in parts.items():
            same(name, part, [s[4][name] for s in one], info[name], step["info", name].squeeze(-1))
            same(name, part[on], [infos[row][name] for row in on])
        ended_by_stop += int((terminated.numpy() & going).sum())
        ended_by_time += int((truncated.numpy() & going).sum())
        going &= ~(terminated | truncated).numpy()
        state = next_state
    assert ended_by_stop
    assert ended_by_time
    assert not going.any()


def _open(snapshot):
    """The same, with no row's end reported, so that rows that are done can be stepped like any other."""
    snapshot = snapshot.clone()
    snapshot.ended = torch.zeros_like(snapshot.ended)
    return snapshot


def test_no_adapter_makes_do_with_other_actions_than_it_was_told():
    single, vector, sb3 = (
        envs.AttentionCalibrationEnv(),
        envs.AttentionCalibrationVectorEnv(2),
        CalibrationVecEnv(2),
    )
    torchrl = CalibrationTorchRLEnv(2)
    for adapter in (single, vector, sb3):
        adapter.reset()
    for fraction in (1.7, True, None):
        with pytest.raises(ValueError, match="expected whole numbers"):
            single.step(fraction)
        for adapter in (vector, sb3):
            with pytest.raises(ValueError, match="expected whole numbers"):
                adapter.step([1, fraction] if fraction is None else [fraction, fraction])
    with pytest.raises(ValueError, match=r"actions: expected \[1\], got \[1, 2\]"):
        single.step([1, 2])
    for adapter in (vector, sb3):
        with pytest.raises(ValueError, match=r"actions: expected \[2\], got \[1\]"):
            adapter.step([1])  # not both rows alike
    torchrl.reset()
    with pytest.raises(ValueError, match=r"actions: expected \[2\], got \[1\]"):
        torchrl.rows.step(torch.tensor([1]))


def test_pictures_come_at_the_same_pace():
    for adapter in (
        envs.AttentionCalibrationEnv(),
        envs.AttentionCalibrationVectorEnv(1),
        CalibrationVecEnv(1),
    ):
        assert adapter.metadata["render_fps"] == 2
