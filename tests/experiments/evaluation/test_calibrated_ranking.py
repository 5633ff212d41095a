"""What a calibration of captions may change, and what it may not."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from agents import PlanResult, roll
from envs import CalibrationCore, EnvConfig, Episode
from experiments.evaluation.calibrate_gallery import calibrate
from experiments.evaluation.directions import directions_of
from experiments.evaluation.gallery import Gallery
from experiments.evaluation.pair_scores import score_pairs
from experiments.evaluation.retrieval_quality import evaluate
from experiments.settings.schema import EvalConfig
from models import AlignmentModel


class Always:
    """Makes the first legal action until the end, whatever it sees."""

    def __init__(self, model: AlignmentModel) -> None:
        self.core = CalibrationCore(model.haf, EnvConfig(families=("temperature",), horizon=2))
        self.config = SimpleNamespace(seed=0)
        self.rests = False

    def calibrate(self, core: CalibrationCore, episode: Episode, draws: torch.Generator) -> PlanResult:
        return roll(core, episode, lambda observation, mask: mask.int().argmax(1), 2)


def test_a_calibration_reorders_shapes_and_lifts_no_caption(model: AlignmentModel, gallery: Gallery) -> None:
    config = EvalConfig(candidates=5, batch_size=4, grounding=0)
    policy: Any = Always(model)
    made = calibrate(model, gallery, config, policy)
    assert (made.gains["acted"] == 1).all()
    assert (made.shift != 0).any()

    size = gallery.similarity.shape[1]
    nearest = gallery.nearest_shapes(5)
    keys, order = (torch.arange(len(nearest)).unsqueeze(1) * size + nearest).flatten().sort()
    looked_up = score_pairs(model, gallery, keys, config, made)
    anew = score_pairs(model, gallery, keys, config, dataclasses.replace(made, scores=None))
    for scores in (looked_up, anew):
        before, after = (
            part.new_empty(len(part)).scatter_(0, order, part).view_as(nearest)
            for part in (scores.plain, scores.attended)
        )
        assert not torch.allclose(before, after, atol=1e-5)
        torch.testing.assert_close(before.mean(1), after.mean(1))
    torch.testing.assert_close(anew.plain, looked_up.plain)
    torch.testing.assert_close(anew.attended, looked_up.attended)


def test_pairs_are_scored_as_one_by_one(model: AlignmentModel, gallery: Gallery) -> None:
    keys = torch.randperm(gallery.similarity.numel(), generator=torch.Generator().manual_seed(0))[:40].sort()
    config = EvalConfig(candidates=3, batch_size=2, grounding=0)
    scores = score_pairs(model, gallery, keys.values, config)
    assert torch.equal(scores.plain, scores.attended)
    size = gallery.similarity.shape[1]
    for key, score in zip(keys.values.tolist(), scores.plain.tolist(), strict=True):
        text, shape = torch.tensor([key // size]), torch.tensor([[key % size]])
        with torch.no_grad():
            state = model.attend(gallery.text.select(text), gallery.shapes, shape)
            assert score == pytest.approx(float(model.haf.fuse(state).score), abs=1e-4)


def test_an_agent_that_rests_changes_nothing(model: AlignmentModel, gallery: Gallery) -> None:
    config = EvalConfig(candidates=5, batch_size=4, grounding=0)
    policy: Any = Always(model)
    policy.rests = True
    made = calibrate(model, gallery, config, policy)
    assert not made.changed.any()
    assert set(made.gains) >= {"return", "acted", "internal"}
    metrics = evaluate(directions_of(model, gallery, config, made), calibrated=True)
    assert metrics["final"] == metrics["reranked"]
    assert metrics["reranked"] == evaluate(directions_of(model, gallery, config))["reranked"]
