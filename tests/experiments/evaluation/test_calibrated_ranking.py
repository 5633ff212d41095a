"""What a calibration of captions may change, and what it may not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from agents import PlanResult, roll
from envs import CalibrationCore, EnvConfig, Episode
from experiments.evaluation.retrieval_quality import Gallery, calibrate, scorer
from experiments.settings.schema import EvalConfig
from models import AlignmentModel


class Always:
    """Makes the first legal action until the end, whatever it sees."""

    def __init__(self, model: AlignmentModel) -> None:
        self.core = CalibrationCore(model.haf, EnvConfig(families=("temperature",), horizon=2))
        self.config = SimpleNamespace(seed=0)

    def calibrate(self, core: CalibrationCore, episode: Episode, draws: torch.Generator) -> PlanResult:
        return roll(core, episode, lambda observation, mask: mask.int().argmax(1), 2)


def test_a_calibration_reorders_shapes_and_lifts_no_caption(model: AlignmentModel, gallery: Gallery) -> None:
    config = EvalConfig(candidates=5, batch_size=4, grounding=0)
    policy: Any = Always(model)
    made = calibrate(model, gallery, config, policy)
    assert (made.gains["acted"] == 1).all()
    assert (made.shift != 0).any()

    texts = torch.arange(len(gallery.text.tokens))
    nearest = (gallery.text.embedding @ gallery.shapes.embedding.T).topk(5).indices
    with torch.no_grad():
        before = scorer(model, gallery, "text_to_shape", None)(texts, nearest)
        after = scorer(model, gallery, "text_to_shape", made)(texts, nearest)
        turned = scorer(model, gallery, "shape_to_text", made)(nearest[:, 0], texts.unsqueeze(1))
    assert not torch.allclose(before, after, atol=1e-5)
    torch.testing.assert_close(before.mean(1), after.mean(1))
    torch.testing.assert_close(turned.squeeze(1), after[:, 0])
