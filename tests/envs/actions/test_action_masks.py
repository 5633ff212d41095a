"""Masks: an action is masked where it would change nothing or go too far, and nowhere else."""

import pytest
import torch

from envs import FAMILIES, DemoSource, EnvConfig, demo_core
from envs.actions.families import register
from models.haf import CANDIDATE_FIELDS

ROWS = 6


def awkward(core):
    """Rows with one token, with as many as there are, and with a paired shape of a single region."""
    source = DemoSource(core, tokens=9)
    attention = source.sample(ROWS, torch.Generator().manual_seed(0)).attention
    lengths = torch.tensor([1, 2, 9, 5, 7, 6])
    attention.mask = torch.arange(9) < lengths[:, None]
    attention.token_logits = torch.where(
        attention.mask, attention.token_logits.nan_to_num(0, 0, 0), -torch.inf
    )
    regions = core.haf.regions
    attention.region[3] = torch.where(attention.region[3] < regions, 1, regions)
    return core.episode(attention, torch.arange(8) == torch.zeros(ROWS, 1))


@pytest.mark.parametrize("family", FAMILIES)
def test_masked_is_what_changes_nothing(family):
    core = demo_core(EnvConfig(families=(family, "stop"), horizon=9))
    episode = awkward(core)
    state = core.initial(episode)
    legal = core.mask(episode, state)
    before = core.haf.fuse(episode.attention, state.calibration)
    for action in range(1, core.actions):
        calibration = core.catalogue.apply(state.calibration, episode, torch.full((ROWS,), action))
        after = core.haf.fuse(episode.attention, calibration)
        changed = ((after.score - before.score).abs() > 1e-6).any(-1)
        real = episode.attention.mask[:, None, None, :, None]
        changed |= (((after.attention - before.attention) * real).abs() > 1e-6).flatten(1).any(-1)
        assert changed.tolist() == legal[:, action].tolist(), core.action_names[action]
    if family == "token":
        assert not legal[0, 1:].any(), "one token has all the weight, whatever it is"
    if family == "association":
        assert not legal[3, 1:].any(), "one region has all the attention"
    assert legal[1, 1:].any()


@pytest.mark.parametrize("family", FAMILIES)
def test_entries_stay_within_the_limit(family):
    step = FAMILIES[family].step
    core = demo_core(EnvConfig(families=(family,), limit=2.5 * step, horizon=50))
    episode = awkward(core)
    state = core.initial(episode)
    for direction in (0, 1):  # up until it is masked, then down, twice as far
        for moved in range(5):
            action = torch.full((ROWS,), core.actions - 2 + direction)
            if family == "association":
                action[:] = direction  # the first group on the first region
            legal = core.mask(episode, state).gather(1, action[:, None]).squeeze(1)
            steps = (moved if direction == 0 else 2 - moved) + (direction == 0)
            expected = torch.tensor(steps <= 2 if direction == 0 else steps > -2)
            useful = core.mask(episode, core.initial(episode)).gather(1, action[:, None]).squeeze(1)
            assert legal.tolist() == (useful & expected).tolist()
            state = core.transition(episode, state, action, active=legal)
            assert bool((core.catalogue.values(state.calibration, episode).abs() <= 1).all())


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_is_never_calibrated(family):
    core = demo_core(EnvConfig(families=(family,), horizon=9))
    episode = awkward(core)
    state = core.initial(episode)
    generator = torch.Generator().manual_seed(1)
    for _ in range(6):
        random = torch.rand(ROWS, core.actions, generator=generator)
        state = core.transition(
            episode, state, torch.where(core.mask(episode, state), random, -1.0).argmax(-1)
        )
    padding = ~episode.attention.mask
    assert not state.calibration.token[padding].any()
    assert not state.calibration.association[padding].any()
    poisoned = episode.clone()
    for name in ("logits", "evidence"):
        tensor = getattr(poisoned.attention, name)
        axis = {"logits": 3, "evidence": 2}[name]
        tensor.movedim((0, axis), (0, 1))[padding] = 1e3
    again = core.initial(core.episode(poisoned.attention, episode.positives))
    torch.testing.assert_close(again.evaluation.score, core.initial(episode).evaluation.score)
    assert set(CANDIDATE_FIELDS) > {"logits", "evidence"}


def test_no_family_is_called_like_the_action_that_is_of_none():
    with pytest.raises(ValueError, match="the name 'stop' is taken by the action"):
        register(type("Halt", (type(FAMILIES["level"]),), {"name": "stop"}))
    assert "stop" not in FAMILIES
