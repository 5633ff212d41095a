"""Retrieval on a split, three ways: exact search, HAF re-ranking, HAF re-ranking as the agent calibrates it.

The search is on global embeddings; its first candidates are re-ranked; the agent sees no label here.
Text to shape: the first caption of each shape is a query, the split's shapes are the gallery. Shape to text:
each shape is a query, the split's unique captions are the gallery. All shapes with the same normalised
caption are right answers for it.
"""

from __future__ import annotations

from collections.abc import Callable
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
from models import AlignmentModel, Calibration, PointHierarchy, TextEmbedding
from retrieval import FlatIndex, ranks_from_scores, summarize

Metrics = dict[str, float]


@dataclass
class Gallery:
    """A split, encoded. ``M`` shapes, ``Q`` unique captions.

    Attributes:
        shapes: batch ``[M]``.
        text: batch ``[Q]``.
        positives: ``[Q, M]`` bool.
        first: ``[M]`` the place of each shape's first caption among the Q.
    """

    shapes: PointHierarchy
    text: TextEmbedding
    positives: Tensor
    first: Tensor


@dataclass
class Calibrations:
    """What the agent made of each caption, from the caption's own nearest shapes.

    Attributes:
        calibration: batch ``[Q]``.
        paired: ``[Q]`` the shape of the gallery whose associations were calibrated.
        shift: ``[Q]`` what is added to a caption's scores, so that on average over its own candidates the
            calibration changes nothing: it reorders a caption's shapes, and a score that rises or falls as
            a whole would rank the caption itself before or behind others when captions are searched.
        gains: what that earned, by the labels that the agent did not see: ``return``, its parts by name (see
            `CalibrationCore.gains`), and ``acted``, ``[Q]`` each.
    """

    calibration: Calibration
    paired: Tensor
    shift: Tensor
    gains: dict[str, Tensor] = field(default_factory=dict)


def encode_split(model: AlignmentModel, corpus: Corpus, indices: Tensor, device: torch.device) -> Gallery:
    """Encodes the shapes at ``indices`` and their captions."""
    texts = corpus.unique_texts(indices)
    return Gallery(
        shapes=embed_shapes(model, corpus, indices, device),
        text=embed_texts(model, corpus, texts, device),
        positives=corpus.positives(texts, indices),
        first=torch.searchsorted(texts, corpus.first_texts(indices)),
    )


def evaluate(
    model: AlignmentModel, gallery: Gallery, config: EvalConfig, calibrations: Calibrations | None = None
) -> dict[str, Metrics]:
    """Measures retrieval.

    Args:
        model: a trained model.
        gallery: the split.
        config: how many candidates are re-ranked.
        calibrations: what the agent made of the captions, for the third row; None leaves that out.

    Returns:
        ``baseline``, ``reranked`` and ``final``: metrics such as ``text_to_shape/recall@1``; and in
        ``ceiling`` what a perfect re-ranking of the candidates would have.
    """
    forward = _search(gallery.text.embedding, gallery.shapes.embedding, config.candidates)
    backward = _search(gallery.shapes.embedding, gallery.text.embedding, config.candidates)
    results: dict[str, Metrics] = {}
    directions = {
        "text_to_shape": (gallery.first, forward[gallery.first], gallery.positives),
        "shape_to_text": (torch.arange(len(gallery.positives.T)), backward, gallery.positives.T),
    }
    for direction, (queries, candidates, positives) in directions.items():
        known = _exact_ranks(gallery, direction)[queries.numpy()]
        right = positives[queries].gather(1, candidates)
        _add(results, BASELINE, direction, known)
        _add(results, "ceiling", direction, np.where(right.any(1).numpy(), 1, known))
        rankings: dict[str, Calibrations | None] = {RERANKED: None}
        if calibrations is not None:
            rankings[FINAL] = calibrations
        for name, made in rankings.items():
            score = scorer(model, gallery, direction, made)
            scores = _in_batches(score, queries, candidates, config, f"{name} {direction.replace('_', ' ')}")
            _add(results, name, direction, rerank(scores, right.numpy(), known))
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


def calibrate(
    model: AlignmentModel, gallery: Gallery, config: EvalConfig, policy: DapController
) -> Calibrations:
    """Lets the agent calibrate every caption on its nearest shapes, without labels."""
    candidates = _search(gallery.text.embedding, gallery.shapes.embedding, config.candidates)  # [Q, C]
    draws = generator(policy.config.seed, "evaluate")
    parts, paired, shifts, gains = [], [], [], []
    queries = torch.arange(len(candidates))
    with frozen(model), Tracker("calibrating", len(queries), "queries") as tracker:
        for rows in queries.split(config.batch_size):
            attention = model.attend(gallery.text.select(rows), gallery.shapes, candidates[rows])
            episode = policy.core.episode(attention)
            result = policy.calibrate(policy.core, episode, draws)
            order = episode.candidates.cpu()
            place = order.gather(1, episode.attention.paired.cpu().unsqueeze(1))
            right = gallery.positives[rows].gather(1, candidates[rows]).gather(1, order)
            paired.append(candidates[rows].gather(1, place).squeeze(1).to(episode.candidates.device))
            shifts.append((episode.initial.score - result.state.evaluation.score).mean(1))
            gains.append(_gains(policy, episode, result, right))
            parts.append(result.calibration)
            tracker.advance(len(rows))
    return Calibrations(
        calibration=cast(Calibration, torch.cat(cast(list[Tensor], parts))),
        paired=torch.cat(paired),
        shift=torch.cat(shifts),
        gains={name: torch.cat([part[name] for part in gains]) for name in gains[0]},
    )


def _gains(policy: DapController, episode: Episode, result: PlanResult, right: Tensor) -> dict[str, Tensor]:
    """What calibrations of ``B`` rows earned, ``right`` ``[B, C]`` bool in the order of the episode."""
    gains = policy.core.gains(episode, result.state, right)
    changes = (result.actions >= 0) & (result.actions != policy.core.stop)
    return {name: gain.cpu() for name, gain in gains.items()} | {"acted": changes.any(1).float().cpu()}


Scorer = Callable[[Tensor, Tensor], Tensor]


def scorer(model: AlignmentModel, gallery: Gallery, direction: str, made: Calibrations | None) -> Scorer:
    """What scores queries ``[B]`` against candidates ``[B, C]``, in either direction."""

    def of_texts(texts: Tensor, shapes: Tensor) -> Tensor:
        calibration, paired = None, None
        if made is not None:
            calibration = made.calibration[texts]
            match = shapes == made.paired[texts].unsqueeze(1)  # [B, C]
            paired = match.int().argmax(1)
            calibration = without_association(calibration, ~match.any(1))
        state = model.attend(gallery.text.select(texts), gallery.shapes, shapes, paired)
        score = model.haf.fuse(state, calibration).score
        return score if made is None else score + made.shift[texts].unsqueeze(1)

    def of_shapes(shapes: Tensor, texts: Tensor) -> Tensor:
        # every (shape, caption) pair is a row of its own with one candidate
        pairs = shapes.unsqueeze(1).expand_as(texts).reshape(-1, 1)
        return of_texts(texts.flatten(), pairs).view(texts.shape)

    return of_texts if direction == "text_to_shape" else of_shapes


def without_association(calibration: Calibration, rows: Tensor) -> Calibration:
    """The calibration, with the associations of some rows ``[B]`` bool left as they were."""
    kept = calibration.clone(recurse=False)
    kept.association = calibration.association.masked_fill(rows[:, None, None], 0.0)
    return kept


def _in_batches(
    score: Scorer, queries: Tensor, candidates: Tensor, config: EvalConfig, name: str
) -> np.ndarray:
    parts = []
    with torch.no_grad(), Tracker(name, len(queries), "queries") as tracker:
        for rows in torch.arange(len(queries)).split(config.batch_size):
            parts.append(score(queries[rows], candidates[rows]).float().cpu())
            tracker.advance(len(rows))
    return torch.cat(parts).numpy()


def _search(queries: Tensor, vectors: Tensor, count: int) -> Tensor:
    index = FlatIndex()
    index.build(vectors.float().cpu().numpy(), np.arange(len(vectors)))
    ids, _ = index.search(queries.float().cpu().numpy(), min(count, len(vectors)))
    return torch.from_numpy(ids)


def _exact_ranks(gallery: Gallery, direction: str) -> np.ndarray:
    """Ranks of the exact search over the whole gallery, for all its texts or all its shapes."""
    scores = (gallery.text.embedding @ gallery.shapes.embedding.T).float().cpu().numpy()
    positives = gallery.positives.numpy()
    if direction == "shape_to_text":
        scores, positives = scores.T, positives.T
    return ranks_from_scores(scores, positives)


def _add(results: dict[str, Metrics], name: str, direction: str, ranks: np.ndarray) -> None:
    metrics = results.setdefault(name, {})
    metrics |= {f"{direction}/{key}": value for key, value in summarize(ranks).items()}
