"""One formula scores tokens everywhere, and a changed one is followed or refused, never ignored."""

from __future__ import annotations

import dataclasses
import warnings

import pytest
import torch
from torch import Tensor

from envs import CalibrationCore, EnvConfig, Evaluator
from envs.attention.kernels.token_scores import ScoreArrays
from examples.cosine_term import CosineFusion
from models import SIZES, AlignmentModel, HierarchicalAttentionFusion, PointHierarchy, TextEmbedding
from models.rerank.cached_haf import compact_shapes, compact_texts, fine_scores
from models.token_score import NumberEvidence, TokenScoreWeights, token_score

SIZE = SIZES["tiny"]
CANDIDATES = torch.tensor([[0, 1, 2, 3], [5, 4, 3, 2], [1, 3, 5, 0]])


def world(
    haf_class: type[HierarchicalAttentionFusion],
) -> tuple[AlignmentModel, TextEmbedding, PointHierarchy]:
    torch.manual_seed(0)
    model = AlignmentModel(SIZE, 12)
    model.haf = haf_class(SIZE, model.points.level_sizes)
    for parameter in model.haf.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model = model.eval().requires_grad_(False)
    mask = torch.arange(7) < torch.tensor([[7], [4], [2]])
    quantities = torch.full((3, 7, 2), torch.nan)
    quantities[0, 2] = quantities[1, 0] = torch.tensor([4.0, 4.0])
    text = TextEmbedding(
        torch.randn(3, 7, SIZE.width),
        mask,
        quantities,
        torch.nn.functional.normalize(torch.randn(3, SIZE.embedding), dim=-1),
    )
    nodes = sum(model.points.level_sizes)
    shapes = PointHierarchy(
        nodes=torch.randn(6, nodes, SIZE.width),
        centers=torch.randn(6, nodes, 3),
        region=torch.randint(0, SIZE.regions + 1, (6, nodes)),
        extent=3 * torch.rand(6, 3),
        spectrum=torch.rand(6, 3, 2, 64) ** 4,
        embedding=torch.nn.functional.normalize(torch.randn(6, SIZE.embedding), dim=-1),
    )
    return model, text, shapes


@pytest.mark.parametrize("haf_class", [HierarchicalAttentionFusion, CosineFusion])
def test_training_steps_and_the_re_ranker_give_the_same_scores(haf_class):
    model, text, shapes = world(haf_class)
    state = model.attend(text, shapes, CANDIDATES)
    fused = model.haf.fuse(state)
    kept = compact_shapes(model.haf, shapes), compact_texts(model.haf, text)
    reranked = fine_scores(model.haf, kept[1], kept[0], torch.arange(3), CANDIDATES) + state.global_score
    torch.testing.assert_close(reranked, fused.score, atol=0.02, rtol=0.01)  # half precision
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        core = CalibrationCore(model.haf, EnvConfig(families=("level", "temperature", "association")))
        episode = core.episode(state)
        torch.testing.assert_close(episode.initial.score, fused.score.gather(1, episode.candidates))
        following = core.initial(episode)
        for name in ("raise level 1", "sharpen level 2", "enhance token group 1 on region 1"):
            action = torch.full((3,), core.action_names.index(name))
            following = core.transition(episode, following, action)
    expected = model.haf.fuse(episode.attention, following.calibration)
    torch.testing.assert_close(following.evaluation.score, expected.score, atol=1e-5, rtol=1e-5)


def test_the_term_of_the_example_matters():
    model, text, shapes = world(CosineFusion)
    with_term = model.haf.fuse(model.attend(text, shapes, CANDIDATES)).score
    model.haf.gain.zero_()
    assert (model.haf.fuse(model.attend(text, shapes, CANDIDATES)).score - with_term).abs().max() > 0.01


def test_kernels_step_back_for_a_changed_class_and_say_so_once():
    model, text, shapes = world(CosineFusion)
    core = CalibrationCore(model.haf)
    episode = core.episode(model.attend(text, shapes, CANDIDATES))
    with pytest.warns(UserWarning, match="CosineFusion overrides score_tokens: .* PyTorch"):
        assert not core.evaluator.uses_kernels(episode.attention)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not core.evaluator.uses_kernels(episode.attention)
    compiled = CalibrationCore(model.haf, backend="numba")
    with pytest.raises(ValueError, match=r"backend=numba: CosineFusion overrides score_tokens; use backend"):
        compiled.evaluator.uses_kernels(episode.attention)


def test_a_formula_changed_in_its_own_file_is_noticed(monkeypatch):
    """As if somebody had edited `models.token_score` and not the kernel."""
    model, text, shapes = world(HierarchicalAttentionFusion)
    state = model.attend(text, shapes, CANDIDATES)

    def changed(weights: TokenScoreWeights, queries: Tensor, aligned: Tensor, evidence: Tensor) -> Tensor:
        return token_score(weights, queries, aligned, evidence) + model.haf.heads * aligned.mean(-1)

    monkeypatch.setattr("models.token_score.token_score", changed)
    evaluator = Evaluator(model.haf, CalibrationCore(model.haf).catalogue.dims)
    with pytest.warns(UserWarning, match="formula is not that of HierarchicalAttentionFusion"):
        assert not evaluator.uses_kernels(state)


def test_a_haf_that_fuses_in_another_way_is_refused():
    class Louder(HierarchicalAttentionFusion):
        def fuse(self, state, calibration=None):
            output = super().fuse(state, calibration)
            return dataclasses.replace(output, score=2 * output.score)

    model, _, shapes = world(Louder)
    with pytest.raises(
        ValueError, match="Louder overrides fuse, of which the environment would know nothing"
    ):
        CalibrationCore(model.haf)
    with pytest.raises(ValueError, match="Louder overrides fuse, of which the cached re-ranker"):
        compact_shapes(model.haf, shapes)


def test_evidence_on_the_numbers_alone_is_that_on_all_tokens():
    model, text, _ = world(HierarchicalAttentionFusion)
    queries = model.haf.token_queries(text.tokens)
    aligned = torch.randn(3, 4, 7, SIZE.width)
    dense = torch.zeros(3, 4, 7, model.haf.from_evidence.in_features)
    row, token = torch.tensor([0, 1]), torch.tensor([2, 0])
    along = torch.randn(2, 4, dense.shape[-1])
    dense[row, :, token] = along
    for places, evidence in (((row, token), along), ((row[:0], token[:0]), along[:0])):
        expected = dense if len(evidence) else torch.zeros_like(dense)
        found = model.haf.score_tokens(queries, aligned, NumberEvidence(*places, evidence))
        torch.testing.assert_close(found, model.haf.score_tokens(queries, aligned, expected))


def test_kernels_and_tensors_have_the_same_weights():
    assert ScoreArrays._fields == TokenScoreWeights._fields
