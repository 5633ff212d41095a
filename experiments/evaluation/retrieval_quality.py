"""Retrieval on a split, three ways: exact search, HAF re-ranking, HAF re-ranking as the agent calibrates it.

The search is on global embeddings; its first candidates are re-ranked; the agent sees no label here.
Text to shape: the first caption of each shape is a query, the split's shapes are the gallery. Shape to text:
each shape is a query, the split's unique captions are the gallery. All shapes with the same normalized
caption are right answers for it. HAF scores each pair of a caption and a shape once, whichever directions
need it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from torch import Tensor

from agents import PlanResult
from align3d.console.progress import Tracker
from envs import Episode
from experiments.console.process import generator
from experiments.dap.controller import DapController
from experiments.data.corpus import Corpus
from experiments.data.encoding import embed_shapes, embed_texts, frozen
from experiments.run_folder.names import BASELINE, FINAL, RERANKED
from experiments.settings.schema import EvalConfig
from models import AlignmentModel, AttentionState, Calibration, PointHierarchy, TextEmbedding
from retrieval import ranks_from_scores, summarize

Metrics = dict[str, float]


@dataclass
class Gallery:
    """A split, encoded. ``M`` shapes, ``Q`` unique captions.

    Attributes:
        shapes: Batch ``[M]``.
        text: Batch ``[Q]``.
        positives: ``[Q, M]`` bool.
        first: ``[M]`` the place of each shape's first caption among the Q.
        similarity: ``[Q, M]`` cosines of the global embeddings.
        keys_values: HAF's projections of the shapes, see `HierarchicalAttentionFusion.project`.
    """

    shapes: PointHierarchy
    text: TextEmbedding
    positives: Tensor
    first: Tensor
    similarity: Tensor
    keys_values: tuple[Tensor, Tensor]

    def nearest_shapes(self, count: int) -> Tensor:
        """The shapes nearest to each caption by global embeddings, ``[Q, min(count, M)]``, best first."""
        return self.similarity.topk(min(count, self.similarity.shape[1]), dim=1).indices

    def nearest_texts(self, count: int) -> Tensor:
        """The captions nearest to each shape by global embeddings, ``[M, min(count, Q)]``, best first."""
        return self.similarity.topk(min(count, len(self.similarity)), dim=0).indices.T

    def attend(
        self, model: AlignmentModel, texts: Tensor, shapes: Tensor, paired: Tensor | None = None
    ) -> AttentionState:
        """HAF's attention of captions ``[B]`` over shapes ``[B, C]``; see `AlignmentModel.attend`."""
        own = self.text.select(texts)
        score = model.logit_scale * self.similarity[texts].gather(1, shapes)
        return model.haf.attend(
            own.tokens, own.mask, own.quantities, self.shapes, shapes, score, paired, self.keys_values
        )


@dataclass
class PairScores:
    """HAF's scores of ``P`` pairs of a caption and a shape.

    Attributes:
        keys: ``[P]`` int64, ascending: caption × M + shape.
        plain: ``[P]`` under the model's own attention.
        calibrated: ``[P]`` under the agent's calibration of the caption, shifted by `Calibrations.shift`.
    """

    keys: Tensor
    plain: Tensor
    calibrated: Tensor


@dataclass
class Calibrations:
    """Calibrations of each caption by the agent, from the caption's own nearest shapes.

    Attributes:
        calibration: Batch ``[Q]``.
        paired: ``[Q]`` the shape of the gallery whose associations were calibrated.
        shift: ``[Q]`` what is added to a caption's scores, so that on average over its own candidates the
            calibration changes nothing: it reorders a caption's shapes, and a score that rises or falls as
            a whole would rank the caption itself before or behind others when captions are searched.
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
        """The captions whose attention is not what it was, bool ``[Q]``."""
        parts = self.calibration.values()
        return torch.stack([cast(Tensor, part).flatten(1).any(1) for part in parts]).any(0)


def encode_split(model: AlignmentModel, corpus: Corpus, indices: Tensor, device: torch.device) -> Gallery:
    """Encodes the shapes at ``indices`` and their captions."""
    texts = corpus.unique_texts(indices)
    shapes = embed_shapes(model, corpus, indices, device)
    text = embed_texts(model, corpus, texts, device)
    with frozen(model):
        keys_values = model.haf.project(shapes)
    return Gallery(
        shapes=shapes,
        text=text,
        positives=corpus.positives(texts, indices),
        first=torch.searchsorted(texts, corpus.first_texts(indices)),
        similarity=text.embedding @ shapes.embedding.T,
        keys_values=keys_values,
    )


def evaluate(
    model: AlignmentModel, gallery: Gallery, config: EvalConfig, calibrations: Calibrations | None = None
) -> dict[str, Metrics]:
    """Measures retrieval.

    Args:
        model: A trained model.
        gallery: The split.
        config: How many candidates are re-ranked.
        calibrations: What the agent made of the captions, for the third row; None leaves that out.

    Returns:
        ``baseline``, ``reranked`` and ``final``: metrics such as ``text_to_shape/recall@1``; and in
        ``ceiling`` what a perfect re-ranking of the candidates would have.
    """
    device = gallery.similarity.device
    texts, shapes = gallery.first.to(device), torch.arange(gallery.similarity.shape[1], device=device)
    forward = gallery.nearest_shapes(config.candidates)[texts]  # [M, C]
    backward = gallery.nearest_texts(config.candidates)  # [M, C]
    keys = torch.cat(
        [
            _keys(gallery, texts.unsqueeze(1), forward).flatten(),
            _keys(gallery, backward, shapes.unsqueeze(1)).flatten(),
        ]
    )
    unique, place = keys.unique(return_inverse=True)
    scores = score_pairs(model, gallery, unique, config, calibrations)
    rankings = {RERANKED: scores.plain} | ({} if calibrations is None else {FINAL: scores.calibrated})

    results: dict[str, Metrics] = {}
    split = forward.numel()
    directions = {
        "text_to_shape": (gallery.similarity[texts], gallery.positives[gallery.first], forward),
        "shape_to_text": (gallery.similarity.T, gallery.positives.T, backward),
    }
    for pairs, (direction, (similarity, positives, candidates)) in zip(
        (place[:split], place[split:]), directions.items(), strict=True
    ):
        known = ranks_from_scores(similarity.float().cpu().numpy(), positives.numpy())
        right = positives.gather(1, candidates.cpu()).numpy()
        _add(results, BASELINE, direction, known)
        _add(results, "ceiling", direction, np.where(right.any(1), 1, known))
        for name, score in rankings.items():
            own = score[pairs].view_as(candidates).float().cpu().numpy()
            _add(results, name, direction, rerank(own, right, known))
    return results


def rerank(scores: np.ndarray, right: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Ranks after the first candidates were put in a new order.

    Args:
        scores: ``[Q, C]`` of the candidates.
        right: ``[Q, C]`` bool.
        known: ``[Q]`` ranks in the exact search, which hold for a query without a right candidate.

    Returns:
        ``[Q]`` ranks from 1.
    """
    behind = np.maximum(known, scores.shape[1] + 1)
    return np.where(right.any(1), ranks_from_scores(scores, right), behind)


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
        scores.plain[found], scores.calibrated[found] = (
            part[place[found]] for part in (seen.plain, seen.calibrated)
        )
        missing = missing[~found]
    changed = None if calibrations is None else calibrations.changed
    with frozen(model), Tracker("re-ranking", len(missing), "pairs") as tracker:
        size = gallery.similarity.shape[1]
        for block in _blocks(keys[missing] // size, config.candidates, config.batch_size):
            pairs = missing[block.clamp_min(0)]  # [B, W]
            texts, shapes = keys[pairs[:, 0]] // size, keys[pairs] % size
            state = gallery.attend(model, texts, shapes)
            plain = model.haf.fuse(state).score
            calibrated = plain
            if calibrations is not None and changed is not None and bool(changed[texts].any()):
                rows = changed[texts].nonzero().squeeze(1)
                calibrated = plain.clone()
                calibrated[rows] = _calibrated(model, state[rows], texts[rows], shapes[rows], calibrations)
            real = block >= 0
            scores.plain[pairs[real]], scores.calibrated[pairs[real]] = plain[real], calibrated[real]
            tracker.advance(int(real.sum()))
    return scores


def _calibrated(
    model: AlignmentModel, state: AttentionState, texts: Tensor, shapes: Tensor, made: Calibrations
) -> Tensor:
    """Scores ``[B, C]`` of captions ``[B]`` and shapes ``[B, C]`` under the agent's calibration."""
    match = shapes == made.paired[texts].unsqueeze(1)  # [B, C]
    state.paired = match.int().argmax(1)
    calibration = without_association(made.calibration[texts], ~match.any(1))
    return model.haf.fuse(state, calibration).score + made.shift[texts].unsqueeze(1)


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


def calibrate(
    model: AlignmentModel, gallery: Gallery, config: EvalConfig, policy: DapController
) -> Calibrations:
    """Lets the agent calibrate every caption on its nearest shapes, without labels."""
    candidates = gallery.nearest_shapes(config.candidates)  # [Q, C]
    if policy.rests:
        return _resting(policy, gallery, candidates)
    draws = generator(policy.config.seed, "evaluate")
    parts, paired, shifts, gains = [], [], [], []
    plain, calibrated = (torch.empty(candidates.shape, device=candidates.device) for _ in range(2))
    queries = torch.arange(len(candidates), device=candidates.device)
    with frozen(model), Tracker("calibrating", len(queries), "queries") as tracker:
        for rows in queries.split(config.batch_size):
            episode = policy.core.episode(gallery.attend(model, rows, candidates[rows]))
            result = policy.calibrate(policy.core, episode, draws)
            order = episode.candidates
            before, after = episode.initial.score, result.state.evaluation.score
            shift = (before - after).mean(1)
            plain[rows] = before.new_empty(before.shape).scatter_(1, order, before)
            calibrated[rows] = after.new_empty(after.shape).scatter_(1, order, after + shift.unsqueeze(1))
            own = candidates[rows].gather(1, order)  # in the order of the episode
            right = gallery.positives[rows.cpu()].gather(1, own.cpu())
            paired.append(own.gather(1, episode.attention.paired.unsqueeze(1)).squeeze(1))
            shifts.append(shift)
            gains.append(_gains(policy, episode, result, right))
            parts.append(result.calibration)
            tracker.advance(len(rows))
    keys, order = _keys(gallery, queries.unsqueeze(1), candidates).flatten().sort()
    return Calibrations(
        calibration=cast(Calibration, torch.cat(cast(list[Tensor], parts))),
        paired=torch.cat(paired),
        shift=torch.cat(shifts),
        gains={name: torch.cat([part[name] for part in gains]) for name in gains[0]},
        scores=PairScores(keys, plain.flatten()[order], calibrated.flatten()[order]),
    )


def _resting(policy: DapController, gallery: Gallery, candidates: Tensor) -> Calibrations:
    """The calibrations of an agent that changes nothing."""
    dims, tokens = policy.core.catalogue.dims, gallery.text.tokens
    count, device = len(tokens), tokens.device
    names = ("return", *policy.core.reward_weights, "acted")
    return Calibrations(
        calibration=Calibration.identity(
            count,
            tokens=tokens.shape[1],
            levels=dims.levels,
            heads=dims.heads,
            regions=dims.regions,
            device=device,
        ),
        paired=candidates[:, 0],
        shift=torch.zeros(count, device=device),
        gains={name: torch.zeros(count) for name in names},
    )


def _gains(policy: DapController, episode: Episode, result: PlanResult, right: Tensor) -> dict[str, Tensor]:
    """Earnings of the calibrations of ``B`` rows, ``right`` ``[B, C]`` bool in the order of the episode."""
    gains = policy.core.gains(episode, result.state, right)
    changes = (result.actions >= 0) & (result.actions != policy.core.stop)
    return {name: gain.cpu() for name, gain in gains.items()} | {"acted": changes.any(1).float().cpu()}


def without_association(calibration: Calibration, rows: Tensor) -> Calibration:
    """The calibration, with the associations of some rows ``[B]`` bool left as they were."""
    kept = calibration.clone(recurse=False)
    kept.association = calibration.association.masked_fill(rows[:, None, None], 0.0)
    return kept


def _keys(gallery: Gallery, texts: Tensor, shapes: Tensor) -> Tensor:
    """Numbers of pairs, as in `PairScores`."""
    return texts * gallery.similarity.shape[1] + shapes


def _add(results: dict[str, Metrics], name: str, direction: str, ranks: np.ndarray) -> None:
    metrics = results.setdefault(name, {})
    metrics |= {f"{direction}/{key}": value for key, value in summarize(ranks).items()}
