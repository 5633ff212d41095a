"""HAF's scores of pairs of a caption and a shape, each worked out once whichever direction needs it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor

from align3d.console.progress import Tracker
from experiments.data.encoding import frozen
from experiments.evaluation.gallery import Gallery
from experiments.settings.schema import EvalConfig
from models import AlignmentModel, AttentionState, Calibration


@dataclass
class PairScores:
    """HAF's scores of ``P`` pairs of a caption and a shape, without what the library adds.

    Attributes:
        keys: ``[P]`` int64, ascending: caption × M + shape.
        plain: ``[P]`` under the model's own attention.
        attended: ``[P]`` under the attention as the agent calibrated it for the caption, shifted by
            `Calibrations.shift`.
    """

    keys: Tensor
    plain: Tensor
    attended: Tensor


@dataclass
class Calibrations:
    """Calibrations of each caption by the agent, from the caption's own nearest shapes.

    Attributes:
        calibration: Batch ``[Q]``.
        paired: ``[Q]`` the shape of the gallery whose associations were calibrated.
        shift: ``[Q]`` what is added to a caption's scores, so that on average over its own candidates the
            calibration of attention changes nothing: it reorders a caption's shapes, and a score that rises
            or falls as a whole would rank the caption itself before or behind others when captions are
            searched.
        gains: What that earned, by the labels that the agent did not see: ``return``, its parts by name (see
            `CalibrationCore.gains`), and ``acted``, ``[Q]`` each.
        scores: Of the pairs that the agent looked at, if it did.
    """

    calibration: Calibration
    paired: Tensor
    shift: Tensor
    gains: dict[str, Tensor] = field(default_factory=dict)
    scores: PairScores | None = None

    @property
    def changed(self) -> Tensor:
        """The captions whose attention to their shapes is not what it was, bool ``[Q]``."""
        parts = without_library(self.calibration).values()
        return torch.stack([cast(Tensor, part).flatten(1).any(1) for part in parts if part.ndim > 1]).any(0)


def keys_of(gallery: Gallery, texts: Tensor, shapes: Tensor) -> Tensor:
    """Numbers of pairs, as in `PairScores`."""
    return texts * gallery.similarity.shape[1] + shapes


def score_pairs(
    model: AlignmentModel,
    gallery: Gallery,
    keys: Tensor,
    config: EvalConfig,
    calibrations: Calibrations | None = None,
) -> PairScores:
    """Scores pairs of a caption and a shape, those alone that the agent has not looked at.

    Args:
        model: A trained model.
        gallery: The split.
        keys: ``[P]`` pairs, ascending, as in `PairScores`.
        config: Pairs at a time: as many as in a batch of queries.
        calibrations: What the agent made of the captions; None leaves the attention as it is.
    """
    scores = PairScores(keys, *keys.new_zeros(2, len(keys), dtype=torch.float32))
    missing = torch.arange(len(keys), device=keys.device)
    if calibrations is not None and calibrations.scores is not None:
        seen = calibrations.scores
        place = torch.searchsorted(seen.keys, keys).clamp_max(len(seen.keys) - 1)
        found = seen.keys[place] == keys
        scores.plain[found], scores.attended[found] = (
            part[place[found]] for part in (seen.plain, seen.attended)
        )
        missing = missing[~found]
    changed = None if calibrations is None else calibrations.changed
    with frozen(model), Tracker("re-ranking", len(missing), "pairs") as tracker:
        size = gallery.similarity.shape[1]
        for block in _blocks(keys[missing] // size, config.candidates, config.batch_size):
            pairs = missing[block.clamp_min(0)]  # [B, W]
            texts, shapes = keys[pairs[:, 0]] // size, keys[pairs] % size
            state = gallery.attend(model, texts, shapes, library=False)
            plain = model.haf.fuse(state).score
            attended = plain
            if calibrations is not None and changed is not None and bool(changed[texts].any()):
                rows = changed[texts].nonzero().squeeze(1)
                attended = plain.clone()
                attended[rows] = _attended(model, state[rows], texts[rows], shapes[rows], calibrations)
            real = block >= 0
            scores.plain[pairs[real]], scores.attended[pairs[real]] = plain[real], attended[real]
            tracker.advance(int(real.sum()))
    return scores


def _attended(
    model: AlignmentModel, state: AttentionState, texts: Tensor, shapes: Tensor, made: Calibrations
) -> Tensor:
    """Scores ``[B, C]`` of captions ``[B]`` and shapes ``[B, C]`` under calibrated attention."""
    match = shapes == made.paired[texts].unsqueeze(1)  # [B, C]
    state.paired = match.int().argmax(1)
    calibration = without_library(without_association(made.calibration[texts], ~match.any(1)))
    return model.haf.fuse(state, calibration).score + made.shift[texts].unsqueeze(1)


def without_association(calibration: Calibration, rows: Tensor) -> Calibration:
    """The calibration, with the associations of some rows ``[B]`` bool left as they were."""
    kept = calibration.clone(recurse=False)
    kept.association = calibration.association.masked_fill(rows[:, None, None], 0.0)
    return kept


def without_library(calibration: Calibration) -> Calibration:
    """The calibration of attention alone, with both strengths of the library at 0."""
    kept = calibration.clone(recurse=False)
    kept.memory, kept.hubness = torch.zeros_like(calibration.memory), torch.zeros_like(calibration.hubness)
    return kept


def _blocks(texts: Tensor, width: int, rows: int) -> Iterator[Tensor]:
    """Arranges pairs in blocks ``[B, W]``, the pairs of a row being of one caption.

    Args:
        texts: ``[P]`` the caption of each pair, ascending.
        width: Most pairs in a row.
        rows: A block has at most ``rows * width`` places.

    Yields:
        Places among the pairs; behind the last of a row -1. Every pair is in one block.
    """
    if not len(texts):
        return
    device = texts.device
    _, counts = texts.unique_consecutive(return_counts=True)
    pieces = (counts + width - 1) // width  # rows of each caption
    owner = torch.arange(len(counts), device=device).repeat_interleave(pieces)
    number = torch.arange(len(owner), device=device) - (pieces.cumsum(0) - pieces)[owner]
    start = (counts.cumsum(0) - counts)[owner] + number * width
    length = (counts[owner] - number * width).clamp_max(width)
    order = length.argsort(descending=True, stable=True)  # rows of equal length together: little padding
    start, length = start[order], length[order]
    lengths, row = length.tolist(), 0
    while row < len(lengths):
        widest = lengths[row]
        end = row + max(1, rows * width // widest)
        column = torch.arange(widest, device=device)
        here = start[row:end].unsqueeze(1) + column
        yield here.masked_fill(column >= length[row:end].unsqueeze(1), -1)
        row = end
