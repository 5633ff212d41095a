"""Reward terms: the worked example of one's own, and what is refused."""

import gymnasium
import pytest
import torch

import envs
from envs import DemoSource, EnvConfig, RewardConfig, demo_core
from envs.adapters.sb3 import CalibrationVecEnv
from envs.adapters.torchrl import CalibrationTorchRLEnv
from envs.reward import REWARD_TERMS, register_reward
from examples.margin_reward import margin

WEIGHT = 0.25
WITH_MARGIN = EnvConfig(reward=RewardConfig(weights={"margin": WEIGHT}))


def margins(score, positives):
    """One row at a time, of rows that have both kinds."""
    rows = zip(score, positives, strict=True)
    return torch.stack([(row[true].max() - row[~true].max()).tanh() for row, true in rows])


def test_a_term_of_ones_own_telescopes():
    core = demo_core(WITH_MARGIN)
    episode = DemoSource(core).sample(6, torch.Generator().manual_seed(0))
    state, total, parts_total = core.initial(episode), torch.zeros(6), torch.zeros(6)
    for action in (2, 5, 3, 1):
        next_state = core.transition(episode, state, torch.full((6,), action))
        reward, parts = core.reward(episode, state, torch.full((6,), action), next_state)
        weighted = [part for name, part in parts.items() if name.startswith("reward/weighted/")]
        torch.testing.assert_close(sum(weighted), reward)
        torch.testing.assert_close(parts["reward/weighted/margin"], WEIGHT * parts["reward/margin"])
        total, parts_total, state = total + reward, parts_total + parts["reward/margin"], next_state
    gain = margins(state.evaluation.score, episode.positives)
    gain = gain - margins(episode.initial.score, episode.positives)
    assert bool((gain.abs() > 1e-6).all())
    torch.testing.assert_close(parts_total, gain, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(total, core.potential(state) - core.potential(core.initial(episode)))


def test_gains_are_those_of_labels_that_come_later():
    core = demo_core(WITH_MARGIN)
    episode = DemoSource(core).sample(6, torch.Generator().manual_seed(0))
    unlabeled = core.episode(episode.attention)
    state = core.transition(unlabeled, core.initial(unlabeled), torch.full((6,), 2))
    positives = episode.positives.gather(1, unlabeled.candidates)
    gains = core.gains(unlabeled, state, positives)
    assert list(gains) == ["return", "internal", "external", "kl", "margin"]

    labeled = core.episode(episode.attention, episode.positives)
    after = core.transition(labeled, core.initial(labeled), torch.full((6,), 2))
    reward, parts = core.reward(labeled, core.initial(labeled), torch.full((6,), 2), after)
    torch.testing.assert_close(gains.pop("return"), reward)
    for name, gain in gains.items():
        torch.testing.assert_close(gain, parts[f"reward/{name}"])


def test_rows_without_labels_earn_no_margin():
    core = demo_core(WITH_MARGIN)
    episode = DemoSource(core).sample(3, torch.Generator().manual_seed(0))
    unlabeled = core.episode(episode.attention)
    state = core.transition(unlabeled, core.initial(unlabeled), torch.full((3,), 2))
    assert margin(unlabeled, state).tolist() == [0.0] * 3


def test_info_has_the_term_in_every_adapter():
    names = ("reward/margin", "reward/weighted/margin")
    env = gymnasium.make(envs.ENV_ID, config=WITH_MARGIN)
    env.reset(seed=0)
    single = env.step(2)[4]
    vector = envs.AttentionCalibrationVectorEnv(1, config=WITH_MARGIN)
    vector.reset(seed=0)
    many = vector.step(torch.tensor([2]))[4]
    sb3 = CalibrationVecEnv(1, config=WITH_MARGIN)
    sb3.reset()
    infos = sb3.step(torch.tensor([2]).numpy())[3]
    torchrl = CalibrationTorchRLEnv(1, config=WITH_MARGIN)
    info = torchrl.step(torchrl.reset().set("action", torch.tensor([2])))["next", "info"]
    assert single["reward/margin"] != 0
    for name in names:
        assert many[name].tolist() == [single[name]]
        assert name in infos[0]
        assert info[name].shape == (1, 1)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"margn": 0.1}, r"reward.weights.margn=0.1: no such reward term; did you mean 'margin'\?"),
        (
            {"zzz": 0.1},
            r"no such reward term; import what registers it: imports=\[my_module\] \(registered: ",
        ),
        ({"kl": 0.1}, "reward.weights.kl=0.1: a built-in term, weighted by reward.kl_weight"),
        ({"margin": float("inf")}, "reward.weights.margin=inf: must be finite"),
    ],
)
def test_wrong_weights_are_named(weights, words):
    with pytest.raises(ValueError, match=words):
        RewardConfig(weights=weights)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("internal", "taken by envs.reward"),
        ("return", "other than return"),
        ("a b", "expected an identifier"),
    ],
)
def test_wrong_names_are_refused(name, words):
    with pytest.raises(ValueError, match=words):
        register_reward(name)(lambda episode, state: state.kl)


@pytest.mark.parametrize(
    ("term", "words"),
    [
        (
            lambda episode, state: state.evaluation.score,
            r"'odd': expected \[2\], one number per row, got \[2, 8\]",
        ),
        (lambda episode, state: state.kl + torch.nan, "'odd': expected finite numbers, got"),
    ],
)
def test_wrong_terms_are_named(monkeypatch, term, words):
    monkeypatch.setitem(REWARD_TERMS, "odd", term)
    core = demo_core(EnvConfig(reward=RewardConfig(weights={"odd": 1.0})))
    episode = DemoSource(core).sample(2, torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=words):
        core.initial(episode)
