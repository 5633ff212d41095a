"""One direction of retrieval: exact search, HAF on its first candidates, and what a memory adds to both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from experiments.evaluation.gallery import Gallery, Stage
from experiments.evaluation.pair_scores import Calibrations, keys_of, score_pairs
from experiments.settings.schema import EvalConfig
from models import AlignmentModel
from retrieval import ranks_from_scores

Ranks = NDArray[np.int64]


@dataclass
class Library:
    """Evidence of a memory in one direction. ``Q`` queries, ``N`` in the gallery, ``C`` re-ranked.

    Attributes:
        recalled: ``[Q, N]`` cosines of what the queries recall.
        hubness: ``[N]`` cosines.
        pair_recall: ``[Q, C]`` logits.
        fine_hubness: ``[Q, C]`` logits.
    """

    recalled: Tensor
    hubness: Tensor
    pair_recall: Tensor
    fine_hubness: Tensor


@dataclass
class Direction:
    """One direction. ``Q`` queries, ``N`` in the gallery, ``C`` re-ranked; on the CPU.

    Attributes:
        similarity: ``[Q, N]`` cosines of the global embeddings.
        positives: ``[Q, N]`` bool.
        candidates: ``[Q, C]``.
        plain: ``[Q, C]`` HAF's scores.
        attended: ``[Q, C]`` HAF's scores under the agent's calibration of attention.
        strengths: ``[Q, 2]`` the agent's strengths of recall and hubness.
        library: What a memory says; None without one.
    """

    similarity: Tensor
    positives: Tensor
    candidates: Tensor
    plain: Tensor
    attended: Tensor
    strengths: Tensor
    library: Library | None

    def ranks(self, stage: Stage, recall: float = 0.0, hubness: float = 0.0) -> Ranks:
        """Ranks ``[Q]`` of the best right answers, with strengths that are the same for all queries."""
        if stage == "search":
            score = self.similarity
            if self.library is not None and (recall or hubness):
                score = score + recall * self.library.recalled - hubness * self.library.hubness
            return ranks_from_scores(score.numpy(), self.positives.numpy())
        score = self.plain
        if self.library is not None and (recall or hubness):
            score = score + recall * self.library.pair_recall - hubness * self.library.fine_hubness
        return self.reranked(score)

    def calibrated(self) -> Ranks:
        """Ranks under the agent's calibration."""
        return self.reranked(self.calibrated_scores())

    def calibrated_scores(self) -> Tensor:
        """Scores ``[Q, C]`` of the candidates under the agent's calibration."""
        score = self.attended
        if self.library is not None:
            recall, hubness = self.strengths.unsqueeze(-1).unbind(1)
            score = score + recall * self.library.pair_recall - hubness * self.library.fine_hubness
        return score

    def in_order(self, score: Tensor) -> NDArray[np.float64]:
        """Scores ``[Q, N]`` that put the candidates first, by scores ``[Q, C]``, then the rest by cosine."""
        found = self.similarity.double() - 3.0  # below -1
        found.scatter_(1, self.candidates, (score - score.min()).double())
        return found.numpy()

    def reranked(self, score: Tensor) -> Ranks:
        """Ranks after the candidates were put in the order of scores ``[Q, C]``."""
        return rerank(score.numpy(), self.right.numpy(), self.known)

    @cached_property
    def known(self) -> Ranks:
        """Ranks in exact search, ``[Q]``."""
        return self.ranks("search")

    @cached_property
    def right(self) -> Tensor:
        """Which candidates are right, bool ``[Q, C]``."""
        return self.positives.gather(1, self.candidates)


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


def directions_of(
    model: AlignmentModel,
    gallery: Gallery,
    config: EvalConfig,
    calibrations: Calibrations | None = None,
    asking: Tensor | None = None,
) -> dict[str, Direction]:
    """Both directions of a gallery; HAF scores each pair once, whichever direction needs it.

    The agent calibrates captions. A shape that asks takes the mean of the strengths that were given to the
    captions among its candidates.

    Args:
        model: A trained model.
        gallery: The split.
        config: How many candidates are re-ranked.
        calibrations: What the agent made of the captions; None leaves HAF as it is.
        asking: ``[Q]`` places of the captions that ask; None: the first one of each shape.
    """
    device = gallery.similarity.device
    texts = (gallery.first if asking is None else asking).to(device)
    shapes = torch.arange(gallery.similarity.shape[1], device=device)
    forward = gallery.nearest_shapes(config.candidates)[texts]  # [Q, C]
    backward = gallery.nearest_texts(config.candidates)  # [M, C]
    pairs = {
        "text_to_shape": (texts.unsqueeze(1).expand_as(forward), forward),
        "shape_to_text": (backward, shapes.unsqueeze(1).expand_as(backward)),
    }
    keys = torch.cat([keys_of(gallery, *pair).flatten() for pair in pairs.values()])
    unique, place = keys.unique(return_inverse=True)
    scores = score_pairs(model, gallery, unique, config, calibrations)
    strengths = gallery.similarity.new_zeros(len(gallery.similarity), 2)
    if calibrations is not None:
        strengths = torch.stack([calibrations.calibration.memory, calibrations.calibration.hubness], dim=1)
    found = {}
    for name, places in zip(pairs, place.split([forward.numel(), backward.numel()]), strict=True):
        by_text = name == "text_to_shape"
        candidates = forward if by_text else backward
        plain, attended = (part[places].view_as(candidates) for part in (scores.plain, scores.attended))
        found[name] = Direction(
            similarity=(gallery.similarity[texts] if by_text else gallery.similarity.T).float().cpu(),
            positives=gallery.positives[texts.cpu()] if by_text else gallery.positives.T,
            candidates=candidates.cpu(),
            plain=plain.float().cpu(),
            attended=attended.float().cpu(),
            strengths=(strengths[texts] if by_text else strengths[backward].mean(1)).cpu(),
            library=_library(model, gallery, *pairs[name], by_text=by_text),
        )
    return found


def with_memory(
    model: AlignmentModel, gallery: Gallery, directions: Mapping[str, Direction]
) -> dict[str, Direction]:
    """The directions of a gallery, scored before, with what the memory says that the gallery has now."""
    found = {}
    for name, direction in directions.items():
        by_text = name == "text_to_shape"
        candidates = direction.candidates.to(gallery.similarity.device)
        queries = gallery.first if by_text else torch.arange(len(candidates))
        queries = queries.to(candidates.device).unsqueeze(1).expand_as(candidates)
        texts, shapes = (queries, candidates) if by_text else (candidates, queries)
        found[name] = replace(direction, library=_library(model, gallery, texts, shapes, by_text=by_text))
    return found


@torch.no_grad()
def _library(
    model: AlignmentModel, gallery: Gallery, texts: Tensor, shapes: Tensor, *, by_text: bool
) -> Library | None:
    """Evidence of the memory in one direction, whose candidates are pairs ``[Q, C]`` of texts and shapes."""
    known = gallery.memory
    if known is None:
        return None
    memory = known.library.memory
    text, shape = gallery.text.embedding, gallery.shapes.embedding
    if by_text:
        recalled, hubness = known.recalled[texts[:, 0]] @ shape.T, memory.hubness(shape, "shape")
        fine = known.library.hubness[shapes]
    else:
        recalled, hubness = known.library.recalled @ text.T, memory.hubness(text, "text")
        fine = known.caption_hubness[texts]
    recall = torch.cat(
        [
            gallery.recall(model.logit_scale, texts[rows], shapes[rows])
            for rows in torch.arange(len(texts), device=texts.device).split(256)
        ]
    )
    return Library(*(part.float().cpu() for part in (recalled, hubness, recall, fine)))
