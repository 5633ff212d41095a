"""Measurement of a trained model and its agent on held-out shapes, as they are or shifted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from experiments.data.bank import Bank
from experiments.data.corpus import Corpus
from experiments.data.shifted_corpus import shifted_corpus
from experiments.evaluation.calibrate_gallery import calibrate
from experiments.evaluation.directions import Direction, directions_of
from experiments.evaluation.fixed_strengths import Choice, choose
from experiments.evaluation.gallery import Gallery, encode_split
from experiments.evaluation.pair_scores import Calibrations
from experiments.evaluation.retrieval_quality import Metrics, evaluate
from experiments.settings.schema import RunConfig
from models import AlignmentModel

if TYPE_CHECKING:
    from experiments.dap.controller import DapController


@dataclass
class HeldOut:
    """Measurements on the test split.

    Attributes:
        metrics: Of retrieval by ranking, see `evaluate`: the mean over the shifts of ``eval.shift``.
        by_shift: The same of each shift by itself.
        strengths: Of the memory, alike for all queries; None without a memory.
        gains: What the agent's calibrations of each caption have earned, ``[Q]`` each, the mean over shifts.
        gallery: The shapes under the first shift, and
        made: What the agent made of its captions.
    """

    metrics: dict[str, Metrics]
    by_shift: dict[str, dict[str, Metrics]]
    strengths: Choice | None
    gains: dict[str, Tensor]
    gallery: Gallery
    made: Calibrations


def measure_held_out(
    model: AlignmentModel,
    corpus: Corpus,
    config: RunConfig,
    policy: DapController,
    bank: Bank | None,
    device: torch.device,
) -> HeldOut:
    """Measures retrieval on the test split under each of the shifts of ``eval.shift``.

    Args:
        model: Trained.
        corpus: The data.
        config: The run's settings.
        policy: The agent, which sees no label.
        bank: Known pairs, which no shift touches.
        device: Where the model is.
    """
    strengths = _fixed_strengths(model, corpus, config, bank, device)
    test, found = corpus.splits["test"], []
    by_shift: dict[str, dict[str, Metrics]] = {}
    for shift in config.eval.shift:
        gallery = encode_split(model, shifted_corpus(corpus, test, shift, config), test, device, bank)
        made = calibrate(model, gallery, config.eval, policy)
        directions = directions_of(model, gallery, config.eval, made)
        by_shift[shift] = evaluate(directions, strengths, calibrated=True)
        found.append((gallery, made))
    gallery, made = found[0]
    return HeldOut(
        metrics=_mean(list(by_shift.values())),
        by_shift=by_shift,
        strengths=strengths,
        gains={name: torch.stack([own.gains[name] for _, own in found]).mean(0) for name in made.gains},
        gallery=gallery,
        made=made,
    )


def _fixed_strengths(
    model: AlignmentModel, corpus: Corpus, config: RunConfig, bank: Bank | None, device: torch.device
) -> Choice | None:
    """Strengths of the memory that are alike for all queries, chosen on what agents learn from."""
    if bank is None:
        return None
    rows, asked = corpus.splits["reward"], list[dict[str, Direction]]()
    for shift in config.env.shift:
        gallery = encode_split(model, shifted_corpus(corpus, rows, shift, config), rows, device, bank)
        asked.append(directions_of(model, gallery, config.eval))
    return choose(asked)


def _mean(metrics: Sequence[dict[str, Metrics]]) -> dict[str, Metrics]:
    return {
        row: {name: sum(one[row][name] for one in metrics) / len(metrics) for name in values}
        for row, values in metrics[0].items()
    }
