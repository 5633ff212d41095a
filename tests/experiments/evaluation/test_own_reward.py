"""The worked example of a reward term, from a calibration of the test queries to the report's columns."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

import examples.margin_reward  # registers the term
from agents import PlanResult, roll
from envs import CalibrationCore, EnvConfig, Episode, RewardConfig
from experiments import report
from experiments.evaluation.calibrate_gallery import calibrate
from experiments.evaluation.gallery import Gallery
from experiments.settings.schema import EvalConfig
from models import AlignmentModel
from tests.experiments.reporting.synthetic_runs import write_run

assert examples.margin_reward


class SharpensTwice:
    """Makes the first legal action until the end, whatever it sees."""

    def __init__(self, model: AlignmentModel, reward: RewardConfig) -> None:
        env = EnvConfig(families=("temperature",), horizon=2, reward=reward)
        self.core = CalibrationCore(model.haf, env)
        self.config = SimpleNamespace(seed=0)
        self.rests = False

    def calibrate(self, core: CalibrationCore, episode: Episode, draws: torch.Generator) -> PlanResult:
        return roll(core, episode, lambda observation, mask: mask.int().argmax(1), 2)


def test_it_is_evaluated_and_reported(model: AlignmentModel, gallery: Gallery, tmp_path: Path) -> None:
    config = EvalConfig(candidates=5, batch_size=4, grounding=0)
    policy: Any = SharpensTwice(model, RewardConfig(weights={"margin": 2.0}))
    plain: Any = SharpensTwice(model, RewardConfig())
    gains = calibrate(model, gallery, config, policy).gains
    expected = calibrate(model, gallery, config, plain).gains
    assert list(gains) == ["return", "internal", "external", "kl", "margin", "acted"]
    assert (gains["margin"] != 0).any()
    torch.testing.assert_close(gains["return"], expected["return"] + 2 * gains["margin"])
    torch.testing.assert_close(gains["internal"], expected["internal"])

    means = {name: float(values.mean()) for name, values in gains.items()}
    settings = {"imports": ["examples.margin_reward"], "reward.weights": {"margin": 2.0}}
    write_run(tmp_path / "with", agent="mcts", settings=settings, earned=means)
    margin = means.pop("margin")
    write_run(tmp_path / "without", agent="none", earned=means)
    report.main([str(tmp_path)])
    text = (tmp_path / "report" / "report.md").read_text()
    assert "| arm | return | internal part | external part | divergence, nats | margin |" in text
    (with_term,) = (
        line for line in text.splitlines() if line.startswith("| mcts") and f"{means['kl']:.3f}" in line
    )
    assert with_term.endswith(f"| {margin:+.4f} |")
    (without,) = (
        line for line in text.splitlines() if line.startswith("| none") and f"{means['kl']:.3f}" in line
    )
    assert without.endswith("| – |"), "of an arm that is not rewarded so, nothing is stated"
