"""What a step has to compute anew, and that numbers stay in range whatever comes in."""

import pytest
import torch

from envs import FAMILIES, STOP, CalibrationCore, DemoSource, EnvConfig, Evaluator, demo_core
from envs.observation import BOUND

ALL = (*FAMILIES, STOP)


def pick(core, episode, state, generator, families=FAMILIES):
    wanted = torch.stack([core.catalogue.members(family) for family in families]).any(0)
    mask = core.mask(episode, state) & wanted
    return torch.where(mask, torch.rand(mask.shape, generator=generator), -1.0).argmax(-1)


def test_a_step_asks_for_no_queries_and_keys():
    core = demo_core(EnvConfig(families=ALL, horizon=9))
    generator = torch.Generator().manual_seed(0)
    episode = DemoSource(core).sample(4, generator)
    state = core.initial(episode)
    for layer in (core.haf.query, core.haf.key, *core.haf.value, *core.haf.from_token, core.haf.gate):
        for parameter in layer.parameters():
            parameter.data.fill_(torch.nan)
    for _ in range(6):
        state = core.transition(episode, state, pick(core, episode, state, generator))
        assert state.evaluation.score.isfinite().all()
        assert state.kl.isfinite().all()


@pytest.mark.parametrize("families", [("level",), ("head",), ("token",), ("level", "head", "token")])
def test_gates_and_weights_need_no_maps_but_of_the_axes(families):
    core = demo_core(EnvConfig(families=ALL, horizon=9))
    generator = torch.Generator().manual_seed(1)
    episode = DemoSource(core).sample(4, generator)
    state = core.initial(episode)
    poisoned = episode.clone()
    poisoned.attention.logits[..., : core.catalogue.dims.slices[-1].start] = torch.nan
    poisoned.attention.node_values.fill_(torch.nan)
    other = state
    for _ in range(4):
        action = pick(core, episode, state, generator, families)
        state, other = core.transition(episode, state, action), core.transition(poisoned, other, action)
        assert torch.equal(other.evaluation.score, state.evaluation.score)
        assert torch.equal(core.observation(poisoned, other), core.observation(episode, state))


def test_a_temperature_needs_the_maps_of_its_level_alone():
    core = demo_core(EnvConfig(families=("temperature", "level"), horizon=9))
    episode = DemoSource(core).sample(4, torch.Generator().manual_seed(2))
    state = core.initial(episode)
    poisoned = episode.clone()
    coarsest = core.catalogue.dims.slices[-1]
    poisoned.attention.logits[..., : coarsest.start] = torch.nan
    action = torch.full((4,), core.action_names.index(f"sharpen level {core.catalogue.dims.levels}"))
    next_state = core.transition(poisoned, state, action)
    expected = core.transition(episode, state, action)
    assert torch.equal(next_state.evaluation.score, expected.evaluation.score)
    torch.testing.assert_close(next_state.kl, expected.kl)


def test_pieces_and_the_whole_are_the_same():
    core = demo_core(EnvConfig(families=ALL, horizon=9))
    episode = DemoSource(core).sample(24, torch.Generator().manual_seed(3))
    states = []
    for pairs in (1, 200, 10**9):
        core.evaluator = Evaluator(core.haf, core.catalogue.dims, backend="torch", chunk_pairs=pairs)
        generator = torch.Generator().manual_seed(4)
        state = core.initial(episode)
        for _ in range(6):
            state = core.transition(episode, state, pick(core, episode, state, generator))
        states.append(state)
    for other in states[:-1]:
        for name in ("score", "divergence", "statistics"):
            found, expected = (getattr(s.evaluation, name) for s in (other, states[-1]))
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("size", "candidates", "tokens", "paired"),
    [("tiny", 8, 12, None), ("small", 5, 9, 1), ("tiny", 2, 1, None)],
)
def test_both_backends_compute_the_same(size, candidates, tokens, paired):
    """All families by turns, so that associations meet temperatures and gates, at first and later."""
    core = demo_core(EnvConfig(families=ALL, horizon=12, leading=1 if paired else 4), 0, size)
    plain, core = (CalibrationCore(core.haf, core.config, backend=name) for name in ("torch", "numba"))
    generator = torch.Generator().manual_seed(6)
    episode = DemoSource(core, candidates, tokens).sample(10, generator)
    if paired is not None:  # a candidate that is not among those that have statistics
        attention = episode.attention
        episode = core.episode(attention, episode.positives, paired=torch.full((10,), paired))
    members = torch.stack([core.catalogue.members(family) for family in FAMILIES]).float()
    ours = theirs = core.initial(episode)
    for _ in range(10):
        mask = core.mask(episode, ours)
        mask[:, core.stop] = ~mask[:, core.stop + 1 :].any(1)
        wanted = 1 + torch.rand((10, len(members)), generator=generator) @ members
        action = torch.where(mask, wanted + torch.rand(mask.shape, generator=generator) / 10, -1.0).argmax(-1)
        ours = core.transition(episode, ours, action)
        theirs = plain.transition(episode, theirs, action)
        observed = plain.observation(episode, theirs)
        for name in ("score", "divergence", "statistics"):
            found, expected = getattr(ours.evaluation, name), getattr(theirs.evaluation, name)
            torch.testing.assert_close(found, expected, atol=2e-6, rtol=1e-5)
        torch.testing.assert_close(ours.kl, theirs.kl, atol=2e-6, rtol=1e-5)
        torch.testing.assert_close(core.observation(episode, ours), observed, atol=5e-6, rtol=1e-5)


def test_what_the_kernels_cannot_do_is_left_to_pytorch_or_refused():
    core = demo_core(EnvConfig(families=ALL, horizon=9))
    episode = DemoSource(core).sample(2, torch.Generator().manual_seed(7))
    assert core.evaluator.uses_kernels(episode.attention)
    attention = episode.attention.clone()
    attention.logits = attention.logits.double()
    assert not core.evaluator.uses_kernels(attention)
    compiled = CalibrationCore(core.haf, core.config, backend="numba")
    with pytest.raises(ValueError, match=r"backend=numba: logits are torch.float64, .* use backend=auto"):
        compiled.evaluator.uses_kernels(attention)
    assert not CalibrationCore(core.haf, backend="torch").evaluator.uses_kernels(episode.attention)


def test_the_backend_is_a_setting():
    assert demo_core(EnvConfig(backend="torch")).evaluator.backend == "torch"
    assert (
        CalibrationCore(demo_core().haf, EnvConfig(backend="torch"), backend="numba").evaluator.backend
        == "numba"
    )
    with pytest.raises(ValueError, match="backend='fast': expected one of auto, torch, numba"):
        EnvConfig(backend="fast")


@pytest.mark.parametrize("tokens", [1, 5])
@pytest.mark.parametrize("candidates", [1, 2, 8])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_observations_and_rewards_stay_in_range(tokens, candidates, scale):
    core = demo_core(EnvConfig(families=ALL, horizon=9, limit=6.0))
    source = DemoSource(core, candidates, tokens)
    generator = torch.Generator().manual_seed(5)
    plain = source.sample(4, generator)
    attention = plain.attention
    attention.logits = attention.logits * scale
    attention.global_score = attention.global_score * scale
    attention.node_values = attention.node_values * scale
    episode = core.episode(attention, plain.positives)
    state = core.initial(episode)
    for _ in range(9):
        observation = core.observation(episode, state)
        assert observation.isfinite().all()
        assert observation.abs().amax() <= BOUND
        action = pick(core, episode, state, generator, ALL)
        next_state = core.transition(episode, state, action)
        assert core.reward(episode, state, action, next_state)[0].isfinite().all()
        assert (next_state.kl >= -1e-4 * (1 + scale)).all()
        state = next_state
