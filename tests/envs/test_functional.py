import pytest
import torch

from envs import FAMILIES, DemoSource, EnvConfig, Invalidation, RewardConfig, demo_core, token_groups
from envs.reward import external_potential, internal_potential
from models.attention_statistics import attention_statistics
from models.haf import CANDIDATE_FIELDS

ALL = (*FAMILIES, "stop")


def play(config=None, rows=5, seed=0, **kwargs):
    core = demo_core(config or EnvConfig(families=ALL))
    episode = DemoSource(core, **kwargs).sample(rows, torch.Generator().manual_seed(seed))
    return core, episode, core.initial(episode)


def pick(mask, generator):
    return torch.where(mask, torch.rand(mask.shape, generator=generator), -1.0).argmax(-1)


def test_rewards_telescope_and_parts_add_up():
    core, episode, first = play(EnvConfig(families=ALL, horizon=6, reward=RewardConfig(0.3, 0.2)))
    generator = torch.Generator().manual_seed(1)
    state, total, parts_total = first, torch.zeros(5), torch.zeros(5)
    for _ in range(8):
        action = pick(core.mask(episode, state), generator)
        next_state = core.transition(episode, state, action)
        reward, parts = core.reward(episode, state, action, next_state)
        weighted = sum(parts[f"reward/weighted/{name}"] for name in ("internal", "external", "kl"))
        torch.testing.assert_close(weighted, reward)
        torch.testing.assert_close(parts["reward/weighted/kl"], -0.2 * parts["reward/kl"])
        total, parts_total, state = total + reward, parts_total + weighted, next_state
    torch.testing.assert_close(total, core.potential(state) - core.potential(first))
    # The whole improvement, from scores alone.
    score = state.evaluation.score
    before = episode.initial.score
    gain = 0.3 * (
        internal_potential(score, episode.positives) - internal_potential(before, episode.positives)
    )
    gain += 0.7 * (
        external_potential(score, episode.positives) - external_potential(before, episode.positives)
    )
    torch.testing.assert_close(total, gain - 0.2 * state.kl, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_partial_evaluation_is_the_whole_one(family):
    families = tuple(dict.fromkeys((family, "level", "association")))
    core, episode, state = play(EnvConfig(families=families, horizon=9), rows=6)
    generator = torch.Generator().manual_seed(2)
    for _ in range(4):
        state = core.transition(episode, state, pick(core.mask(episode, state), generator))
        output = core.haf.fuse(episode.attention, state.calibration)
        torch.testing.assert_close(state.evaluation.score, output.score, atol=1e-5, rtol=1e-5)
        real = episode.attention.mask.unsqueeze(1).expand_as(output.token_scores)
        found = state.evaluation.token_scores[real]
        torch.testing.assert_close(found, output.token_scores[real], atol=1e-5, rtol=1e-5)
        output.score, output.token_weights = (  # of the leading candidates, whatever their scores are now
            -torch.arange(8.0).expand(6, -1),
            episode.attention.token_logits.softmax(-1),
        )
        statistics = attention_statistics(episode.attention, output, core.haf.level_sizes)
        torch.testing.assert_close(state.evaluation.statistics.mean(1), statistics, atol=1e-5, rtol=1e-5)


def test_divergence_is_that_of_the_maps():
    core, episode, state = play(EnvConfig(families=("temperature", "association"), horizon=9))
    generator = torch.Generator().manual_seed(3)
    for _ in range(3):
        state = core.transition(episode, state, pick(core.mask(episode, state), generator))
    calibrated = core.haf.fuse(episode.attention, state.calibration).attention
    initial = core.haf.fuse(episode.attention).attention
    kl = torch.zeros(5)
    for row in range(5):
        real = episode.attention.mask[row]
        p, q = calibrated[row][:, :, real].double(), initial[row][:, :, real].double()
        per_map = torch.where(p > 0, p * (p / q).log(), 0.0).sum(-1) / core.catalogue.dims.levels
        kl[row] = per_map.mean()
    torch.testing.assert_close(state.kl, kl, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_changes_scores_and_costs_divergence(family):
    core, episode, state = play(EnvConfig(families=(family,)))
    action = pick(core.mask(episode, state), torch.Generator().manual_seed(0))
    next_state = core.transition(episode, state, action)
    assert bool((next_state.evaluation.score != state.evaluation.score).any(-1).all())
    assert bool((next_state.kl > 0).all())


def test_a_step_and_its_inverse_are_nothing():
    core, episode, state = play()
    for action in range(1, core.actions, 2):
        up = torch.full((5,), action)
        if not bool(core.mask(episode, state).gather(1, up[:, None]).all()):
            continue
        back = core.transition(episode, core.transition(episode, state, up), up + 1)
        torch.testing.assert_close(back.evaluation.score, state.evaluation.score, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(core.potential(back), core.potential(state), atol=1e-5, rtol=1e-5)


def test_transition_is_pure():
    core, episode, state = play()
    before = state.clone()
    core.transition(episode, state, pick(core.mask(episode, state), torch.Generator().manual_seed(0)))
    assert bool((before == state).all())


def test_masks_hold_the_limit():
    core, episode, state = play(EnvConfig(families=("temperature", "stop"), limit=0.7, horizon=50))
    sharpen = torch.full((5,), core.catalogue.names.index("sharpen level 1"))
    for _ in range(2):
        assert bool(core.mask(episode, state)[:, sharpen[0]].all())
        state = core.transition(episode, state, sharpen)
    assert not bool(core.mask(episode, state)[:, sharpen[0]].any())
    assert bool(core.mask(episode, state)[:, sharpen[0] + 1].all())
    with pytest.raises(ValueError, match=r"action 1 \(sharpen level 1\) is not legal in row 0"):
        core.transition(episode, state, sharpen)


def test_masked_actions_are_those_that_do_nothing():
    core, episode, state = play()
    mask = core.mask(episode, state)
    assert bool(mask[:, core.catalogue.stop].all())
    small = episode.group_mask.sum(-1).argmin()
    for number, name in enumerate(core.catalogue.names):
        if name.startswith("boost"):
            group = int(name.rsplit(" ", 1)[1]) - 1
            assert bool(mask[small, number]) == bool(episode.group_mask[small, group])
    single = core.catalogue.apply(state.calibration, episode, torch.full((5,), -1))
    assert bool((single == state.calibration).all())


def test_stop_terminates_and_the_horizon_truncates():
    core, episode, state = play(EnvConfig(horizon=2))
    stop = torch.tensor([0, 1, 1, 1, 1])
    state = core.transition(episode, state, stop)
    assert core.terminal(state).tolist() == [True, False, False, False, False]
    assert not bool(core.truncated(state).any())
    later = core.transition(episode, state, torch.tensor([5, 0, 3, 3, 3]))
    assert core.terminal(later).tolist() == [True, True, False, False, False]
    assert core.truncated(later).tolist() == [False, False, True, True, True]
    assert later.step.tolist() == [1, 2, 2, 2, 2]
    reward, _ = core.reward(episode, state, stop, later)
    assert reward[:2].tolist() == [0.0, 0.0]
    again = core.transition(episode, later, torch.full((5,), 1))
    assert bool((again == later).all())


def test_without_stop_an_exhausted_row_ends():
    core, episode, state = play(EnvConfig(families=("temperature",), limit=0.35, horizon=50))
    for _ in range(50):
        state = core.transition(episode, state, pick(core.mask(episode, state), torch.Generator()))
        if bool(core.done(state).all()):
            break
    assert bool((core.truncated(state) ^ core.terminal(state)).all())


@pytest.mark.parametrize("seed", range(3))
def test_observation_does_not_know_what_is_right(seed):
    core, episode, state = play(seed=seed)
    generator = torch.Generator().manual_seed(seed)
    other = episode.clone()
    other.positives = episode.positives.roll(3, dims=1)
    assert bool((episode.positives != other.positives).any())
    for _ in range(4):
        observation = core.observation(episode, state)
        assert observation.shape == (5, core.observation_size)
        assert observation.dtype == torch.float32
        assert bool(observation.isfinite().all())
        assert torch.equal(observation, core.observation(other, state))
        assert torch.equal(core.mask(episode, state), core.mask(other, state))
        state = core.transition(episode, state, pick(core.mask(episode, state), generator))


def test_order_of_the_candidates_is_forgotten():
    core, episode, _ = play()
    attention = episode.attention
    order = torch.rand(5, 8, generator=torch.Generator().manual_seed(4)).argsort(1)
    rows = torch.arange(5)[:, None]
    shuffled = attention.clone()
    for name in CANDIDATE_FIELDS:
        shuffled.set(name, attention.get(name)[rows, order])
    paired = (order == attention.paired[:, None]).int().argmax(1)
    again = core.episode(shuffled, episode.positives.gather(1, order), paired=paired)
    assert torch.equal(again.positives, episode.positives)
    assert torch.equal(again.attention.paired, episode.attention.paired)
    assert bool((episode.initial.score.diff(dim=1) <= 0).all())
    torch.testing.assert_close(
        core.observation(again, core.initial(again)), core.observation(episode, core.initial(episode))
    )
    # ``candidates`` leads back to where each one stood.
    assert torch.equal(shuffled.global_score.gather(1, again.candidates), again.attention.global_score)


def test_rows_do_not_depend_on_each_other():
    core, episode, state = play()
    action = pick(core.mask(episode, state), torch.Generator().manual_seed(6))
    whole = core.transition(episode, state, action)
    for row in range(5):
        one = slice(row, row + 1)
        alone = core.transition(episode[one], state[one], action[one])
        torch.testing.assert_close(alone.evaluation.score, whole.evaluation.score[one], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(alone.kl, whole.kl[one], atol=1e-6, rtol=1e-5)


def test_scores_that_say_nothing_earn_nothing():
    positives = torch.tensor([[True, False, False, False], [False, True, True, False], [False] * 4])
    constant = torch.zeros(3, 4)
    assert external_potential(constant, positives).tolist() == pytest.approx([1 / 4, 1 / 3, 0.0])
    score = torch.tensor([[1.0, 2.0, 0.0, 0.0], [3.0, 2.0, 1.0, 0.0], [1.0, 2.0, 3.0, 4.0]])
    assert external_potential(score, positives).tolist() == pytest.approx([1 / 2, 1 / 2, 0.0])
    assert float(internal_potential(constant, positives)[0]) == pytest.approx(-torch.tensor(4.0).log())
    assert float(internal_potential(score, positives)[2]) == 0.0


def test_token_groups_are_contiguous_and_even():
    mask = torch.arange(10) < torch.tensor([[10], [3], [1], [0]])
    groups = token_groups(mask, 4)
    assert groups[0].tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]
    assert groups[1].tolist() == [0, 1, 2] + [4] * 7
    assert groups[2].tolist() == [0] + [4] * 9
    assert groups[3].tolist() == [4] * 10


def test_the_paired_candidate_can_be_given():
    core, episode, _ = play(EnvConfig(families=("association", "stop")))
    paired = torch.tensor([3, 1, 4, 1, 5])
    again = core.episode(episode.attention, episode.positives, paired=paired)
    stood = again.candidates.gather(1, again.attention.paired[:, None]).squeeze(1)
    assert torch.equal(stood, paired)
    state = core.initial(again)
    next_state = core.transition(
        again, state, pick(core.mask(again, state), torch.Generator().manual_seed(0))
    )
    changed = next_state.evaluation.token_scores.ne(state.evaluation.token_scores).any(-1)
    assert torch.equal(changed.int().argmax(1), again.attention.paired)
    assert changed.sum(1).tolist() == [1] * 5


def test_what_actions_reach():
    core = demo_core(EnvConfig(families=ALL))
    reach = dict(zip(core.catalogue.names, core.catalogue.reach.tolist(), strict=True))
    assert reach["stop"] == reach["boost token group 1"] == Invalidation.POOLING
    assert reach["enhance token group 2 on region 3"] == Invalidation.PAIRED
    assert reach["sharpen level 2"] == reach["raise head 1 of level 1"] == Invalidation.ALL


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"families": ()}, "name at least one"),
        ({"families": ("stop",)}, "name at least one"),
        ({"families": ("levle", "stop")}, "did you mean 'level'"),
        ({"families": "level"}, "must be a list"),
        ({"families": ("level", "token", "level")}, "level is named twice; name each once"),
        ({"horizon": 0}, "horizon=0: must be 1 or more"),
        ({"token_groups": 0}, "token_groups=0: must be 1 or more"),
        ({"limit": float("nan")}, "limit=nan: must be positive and at most 20"),
        ({"limit": 1e3}, "limit=1000.0"),
        ({"steps": {"level": 3.0}}, "steps.level=3.0"),
        ({"limit": 0.0}, "limit=0.0"),
        ({"steps": {"levle": 0.1}}, "steps: unknown family 'levle'; did you mean 'level'"),
        ({"steps": {"stop": 0.1}}, "steps: unknown family 'stop'"),
    ],
)
def test_wrong_settings_are_named(settings, words):
    with pytest.raises(ValueError, match=words):
        demo_core(EnvConfig(**settings))


@pytest.mark.parametrize("alpha", [-0.1, 2.0, float("nan")])
def test_alpha_must_be_a_share(alpha):
    with pytest.raises(ValueError, match="alpha"):
        RewardConfig(alpha=alpha)


def test_wrong_labels_are_named():
    core, episode, _ = play()
    with pytest.raises(ValueError, match="positives: expected"):
        core.episode(episode.attention, episode.positives[:, :3])
    with pytest.raises(ValueError, match="paired: expected numbers from 0 to 7"):
        core.episode(episode.attention, episode.positives, paired=torch.full((5,), 8))


@pytest.mark.parametrize("settings", [{"tokens": 0}, {"candidates": 0}, {"candidates": 40, "gallery": 32}])
def test_wrong_sizes_of_the_demonstration_are_named(settings):
    name = next(iter(settings))
    with pytest.raises(ValueError, match=f"{name}={settings[name]}: must"):
        DemoSource(demo_core(), **settings)
