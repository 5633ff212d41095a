"""Recall and hubness as actions: what they change, what they cost, when they are masked, what is observed."""

import pytest
import torch

from envs import FAMILIES, STOP, CalibrationCore, DemoSource, EnvConfig, HardNegativeEpisodes, demo_core
from envs.observation import BOUND, LIBRARY_FEATURES, observe_library
from models import AlignmentMemory, Library
from models.memory import no_library
from tests.envs.sources.test_hard_negatives import QUERIES, SHAPES, given

__all__ = ["given"]
LIBRARY = ("memory", "hubness")
ROWS = 5


def play(families=(*LIBRARY, STOP), seed=0, **settings):
    core = demo_core(EnvConfig(families=families, horizon=9, **settings))
    episode = DemoSource(core).sample(ROWS, torch.Generator().manual_seed(seed))
    return core, episode, core.initial(episode)


def with_evidence(core, episode, **changes):
    """The episode with other evidence of the library; its candidates stand in order already."""
    attention = episode.attention.clone()
    for name, value in changes.items():
        attention.set(name, value)
    return core.episode(attention, episode.positives)


def act(core, episode, state, *names):
    for name in names:
        action = torch.full((len(state.step),), core.action_names.index(name))
        state = core.transition(episode, state, action)
    return state


def test_steps_are_the_formula():
    core, episode, state = play()
    state = act(core, episode, state, "recall more", "recall more", "subtract less hubness")
    assert state.calibration.memory.tolist() == [1.0] * ROWS
    assert state.calibration.hubness.tolist() == [-0.5] * ROWS
    attention = episode.attention
    expected = episode.initial.score + 1.0 * attention.recall + 0.5 * attention.hubness
    torch.testing.assert_close(state.evaluation.score, expected, atol=1e-5, rtol=1e-5)
    fused = core.haf.fuse(attention, state.calibration).score
    torch.testing.assert_close(state.evaluation.score, fused, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "names",
    [
        ("recall more", "subtract more hubness", "recall less"),
        ("recall more", "sharpen level 1", "boost token group 1"),
        ("enhance token group 1 on region 1", "subtract more hubness", "soften level 2", "recall more"),
    ],
)
def test_both_backends_compute_the_same_among_other_families(names):
    core, episode, first = play((*FAMILIES, STOP))
    torch_core, numba_core = (CalibrationCore(core.haf, core.config, backend=b) for b in ("torch", "numba"))
    assert numba_core.evaluator.uses_kernels(episode.attention)
    found = act(numba_core, episode, first, *names)
    expected = act(torch_core, episode, first, *names)
    torch.testing.assert_close(found.evaluation.score, expected.evaluation.score, atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(found.kl, expected.kl, atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(
        numba_core.observation(episode, found),
        torch_core.observation(episode, expected),
        atol=5e-6,
        rtol=1e-5,
    )
    fused = core.haf.fuse(episode.attention, found.calibration).score
    torch.testing.assert_close(found.evaluation.score, fused, atol=1e-5, rtol=1e-5)


def test_no_other_family_touches_the_evidence_and_the_library_no_map():
    core, episode, state = play()
    after = act(core, episode, state, "recall more", "subtract more hubness")
    for name in ("token_scores", "divergence", "statistics"):
        assert torch.equal(getattr(after.evaluation, name), getattr(state.evaluation, name))


def test_the_price_is_what_the_probabilities_have_moved():
    core, episode, state = play()
    assert state.kl.tolist() == [0.0] * ROWS
    for name in core.action_names[1:]:
        after = act(core, episode, state, name)
        p, q = after.evaluation.score.softmax(1).double(), state.evaluation.score.softmax(1).double()
        expected = (p * (p / q).log()).sum(1).float()
        assert (after.kl > 0).all()
        torch.testing.assert_close(after.kl, expected, atol=1e-6, rtol=1e-4)
    undone = act(core, episode, state, "recall more", "subtract more hubness", "recall less")
    undone = act(core, episode, undone, "subtract less hubness")
    assert undone.kl.tolist() == [0.0] * ROWS
    assert torch.equal(undone.evaluation.score, state.evaluation.score)


def test_the_price_of_the_library_is_beside_that_of_attention():
    core, episode, state = play((*FAMILIES, STOP))
    attended = act(core, episode, state, "sharpen level 1")
    both = act(core, episode, attended, "recall more")
    p, q = both.evaluation.score.log_softmax(1), attended.evaluation.score.log_softmax(1)
    library = (p.exp() * (p - q)).sum(1)
    torch.testing.assert_close(both.kl, attended.kl + library, atol=1e-5, rtol=1e-4)


def test_where_nothing_is_recalled_there_is_nothing_to_do():
    core, episode, _ = play()
    recall, hubness = torch.zeros(2, ROWS, 8).unbind(0)
    recall[0] = episode.attention.recall[0]
    recall[1] = 0.7  # all alike: no ranking changes
    hubness[0] = episode.attention.hubness[0]
    hubness[2] = episode.attention.hubness[2]
    episode = with_evidence(core, episode, recall=recall, hubness=hubness)
    mask = core.mask(episode, core.initial(episode))
    legal = {name: mask[:, n].tolist() for n, name in enumerate(core.action_names)}
    for name in ("recall more", "recall less"):
        assert legal[name] == [True, False, False, False, False]
    for name in ("subtract more hubness", "subtract less hubness"):
        assert legal[name] == [True, False, True, False, False]
    assert legal[STOP] == [True] * ROWS


def test_strengths_stay_within_the_limit():
    core, episode, state = play(limit=1.0)
    for _ in range(2):
        state = act(core, episode, state, "recall more")
    mask = dict(zip(core.action_names, core.mask(episode, state)[0].tolist(), strict=True))
    assert not mask["recall more"]
    assert mask["recall less"]
    assert mask["subtract more hubness"]


def observed(core, episode, state):
    values = core.observation(episode, state)
    return {name: values[:, n] for n, name in enumerate(core.observation_names)}


def test_what_is_observed_of_the_library():
    core, episode, _ = play()
    recall = episode.attention.recall.clone()
    recall[:2, 0] = recall.amax() + 1
    episode = with_evidence(core, episode, recall=recall)
    state = core.initial(episode)
    seen = observed(core, episode, state)
    assert core.observation_size == len(core.observation_names) == len(set(core.observation_names))
    for name in ("recall", "hubness"):
        evidence = getattr(episode.attention, name)
        deviation = evidence.std(1, correction=0)
        standard = (evidence - evidence.mean(1, keepdim=True)) / deviation.unsqueeze(1)
        for candidate in range(core.config.leading):
            found = seen[f"{name} of candidate {candidate + 1}"]
            torch.testing.assert_close(found, standard[:, candidate].clamp(-BOUND, BOUND))
        torch.testing.assert_close(seen[f"spread of {name}"], deviation / (1 + deviation))
        for row in range(ROWS):
            together = torch.stack([evidence[row], episode.initial.score[row]])
            correlation = torch.corrcoef(together)[0, 1]
            torch.testing.assert_close(seen[f"correlation of {name} and score"][row], correlation)
    first = episode.attention.recall.argmax(1) == 0
    assert first.any()
    assert not first.all()
    assert torch.equal(seen["recall's first is the first"], first.float())
    for n, name in enumerate(LIBRARY_FEATURES[: episode.attention.context.shape[1]]):
        assert torch.equal(seen[name], episode.attention.context[:, n])
    later = observed(core, episode, act(core, episode, state, "recall more", "subtract less hubness"))
    assert later["change of memory"].tolist() == [0.25] * ROWS  # a step of 0.5 within a limit of 2
    assert later["change of hubness"].tolist() == [-0.25] * ROWS
    for name in (*LIBRARY_FEATURES, "recall of candidate 1", "hubness of candidate 2"):
        assert torch.equal(later[name], seen[name])


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_same_whatever_is_right(seed):
    core, episode, state = play((*FAMILIES, STOP), seed)
    for shift in range(1, 8):
        other = core.episode(episode.attention, episode.positives.roll(shift, dims=1))
        assert (other.positives != episode.positives).any()
        assert torch.equal(other.library, episode.library)
        after = act(core, other, core.initial(other), "recall more", "subtract more hubness")
        expected = act(core, episode, state, "recall more", "subtract more hubness")
        assert torch.equal(core.observation(other, after), core.observation(episode, expected))
        assert torch.equal(core.mask(other, after), core.mask(episode, expected))


def test_without_a_memory_there_is_nothing_to_see():
    core, episode, _ = play()
    nothing = no_library(episode.initial.score)
    episode = with_evidence(
        core, episode, recall=nothing.recall, hubness=nothing.hubness, context=nothing.context
    )
    assert torch.equal(episode.library, torch.zeros_like(episode.library))
    assert core.observation(episode, core.initial(episode)).isfinite().all()
    alike = with_evidence(core, episode, recall=nothing.recall + 0.1, hubness=nothing.hubness - 1e4)
    assert not observed(core, alike, core.initial(alike))["recall's first is the first"].any()
    assert (observe_library(alike.attention, alike.initial.score, 4).abs() < 1e-3).all()


@pytest.mark.parametrize("candidates", [1, 2, 8])
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e6])
def test_observations_stay_in_range(candidates, scale):
    core = demo_core(EnvConfig(families=(*LIBRARY, STOP)))
    episode = DemoSource(core, candidates).sample(ROWS, torch.Generator().manual_seed(0))
    attention = episode.attention
    episode = with_evidence(core, episode, recall=scale * attention.recall, hubness=scale * attention.hubness)
    observation = core.observation(episode, core.initial(episode))
    assert observation.isfinite().all()
    assert observation.abs().amax() <= BOUND


@torch.no_grad()
def library_of(text, shapes, keep=slice(None)):
    """Known pairs that are like the queries, and made-up hubs."""
    draws = torch.Generator().manual_seed(3)

    def near(embedding):
        noise = torch.randn(embedding.shape, generator=draws)
        return torch.nn.functional.normalize(embedding + 0.2 * noise, dim=1)

    rows = torch.arange(QUERIES)
    memory = AlignmentMemory(near(text.embedding), near(shapes.embedding), torch.stack([rows, rows], dim=1))
    embedding = shapes.embedding[keep]
    hubness = torch.randn(SHAPES, generator=draws)[keep]
    likeness = memory.likeness(embedding, "shape", 1).squeeze(1)
    return Library(memory, embedding, memory.recall(embedding, "shape"), hubness, likeness)


def test_episodes_bring_the_evidence_of_their_candidates(given):
    model, text, shapes, positives = given
    model.eval()
    core, library = CalibrationCore(model.haf, EnvConfig(families=LIBRARY)), library_of(text, shapes)
    episodes = HardNegativeEpisodes(core, model, text, shapes, positives, 5, library=library)
    rows = torch.tensor([4, 0, 7])
    for source, taken in ((episodes, rows), (episodes.only(rows), torch.arange(3))):
        episode = source.take(taken)
        own = episodes.candidates[rows].gather(1, episode.candidates)
        expected = library.evidence(text.embedding[rows], own, model.logit_scale)
        torch.testing.assert_close(episode.attention.recall, expected.recall)
        torch.testing.assert_close(episode.attention.hubness, library.hubness[own])
        torch.testing.assert_close(episode.attention.context, expected.context)
    plain = HardNegativeEpisodes(core, model, text, shapes, positives, 5)
    assert torch.equal(plain.candidates, episodes.candidates)
    episode = plain.take(rows)
    assert not episode.attention.recall.any()
    assert not core.mask(episode, core.initial(episode)).any(), "there is nothing to recall"


def test_a_library_of_another_gallery_is_refused(given):
    model, text, shapes, positives = given
    library = library_of(text, shapes, slice(0, 9))
    with pytest.raises(ValueError, match="library: of 9 shapes, expected one of these 12"):
        HardNegativeEpisodes(CalibrationCore(model.haf), model, text, shapes, positives, 4, library=library)
