"""The library, HAF's coarsest level: what an alignment memory says of the pairs of a gallery.

A word attends to patches, regions and the object; the text as a whole attends to known texts, and the shape
to known shapes (`models.memory`). What these recall is compared with the pair at hand, and each candidate is
known to be more or less of a hub. Both enter HAF's score by strengths of a `Calibration`, 0 by default.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.alignment import AlignmentModel, TextEmbedding
from models.memory import GALLERY_CONTEXT, KNOWN, AlignmentMemory, LibraryEvidence, Side, log_mean_exp
from models.points import PointHierarchy

NEAREST = 32
"""Known queries, nearest by embedding, over which the hubness of HAF's scores is taken."""

FINE_BETA = 0.5
"""Inverse temperature of the hubness of HAF's scores, of logits."""

CHUNK_PAIRS = 2048


@dataclass(frozen=True)
class Library:
    """A memory beside a gallery of ``M`` shapes: what depends on the shapes alone, worked out once.

    Attributes:
        memory: The known pairs.
        shapes: ``[M, E]`` embeddings of the gallery, none of which are known.
        recalled: ``[M, E]`` what each shape recalls, see `AlignmentMemory.recall`.
        hubness: ``[M]`` logits: how readily each shape answers known texts.
        likeness: ``[M]`` cosines of the shapes and the known ones nearest to each.

    Raises:
        ValueError: Tensors of different numbers of shapes.
    """

    memory: AlignmentMemory
    shapes: Tensor
    recalled: Tensor
    hubness: Tensor
    likeness: Tensor

    def __post_init__(self) -> None:
        one_each = self.shapes.shape[:1]
        of_shapes = (self.hubness.shape, self.likeness.shape) == (one_each, one_each)
        if self.recalled.shape != self.shapes.shape or not of_shapes:
            raise ValueError(
                f"shapes {list(self.shapes.shape)}, recalled {list(self.recalled.shape)}, hubness "
                f"{list(self.hubness.shape)}, likeness {list(self.likeness.shape)}: expected [M, E], [M, E], "
                "[M] and [M]"
            )

    def evidence(
        self, text: Tensor, candidates: Tensor, scale: Tensor | float, keep: Tensor | None = None
    ) -> LibraryEvidence:
        """Evidence on texts and their candidates.

        Args:
            text: ``[B, E]`` embeddings of the texts.
            candidates: ``[B, C]`` int64.
            scale: Logits of a cosine of 1.
            keep: Known texts that each text may recall, bool ``[B, K]``; all by default.

        Returns:
            Batch ``[B]``.
        """
        recalled = self.memory.recall(text, "text", keep)
        gallery = gallery_context(self.likeness, self.hubness).expand(len(text), -1)
        return LibraryEvidence(
            recall=pair_recall(
                text.unsqueeze(1),
                self.shapes[candidates],
                recalled.unsqueeze(1),
                self.recalled[candidates],
                scale,
            ),
            hubness=self.hubness[candidates],
            context=torch.cat([self.memory.likeness(text, "text", KNOWN, keep), gallery], dim=1),
            batch_size=[len(text)],
        )


def pair_recall(
    text: Tensor, shape: Tensor, text_recalls: Tensor, shape_recalls: Tensor, scale: Tensor | float
) -> Tensor:
    """Agreement of pairs with what both sides recall: ``scale / 2 (recall(t)·s + t·recall(s))``, in logits.

    It is the same for a text that asks and a shape that asks.

    Args:
        text: ``[..., E]`` embeddings.
        shape: ``[..., E]`` likewise.
        text_recalls: ``[..., E]`` what the texts recall.
        shape_recalls: ``[..., E]`` what the shapes recall.
        scale: Logits of a cosine of 1.

    Returns:
        ``[...]``.
    """
    return 0.5 * scale * ((text_recalls * shape).sum(-1) + (text * shape_recalls).sum(-1))


@torch.no_grad()
def fine_hubness(
    model: AlignmentModel,
    text: TextEmbedding,
    shapes: PointHierarchy,
    side: Side,
    keys_values: tuple[Tensor, Tensor] | None = None,
    keep: Tensor | None = None,
) -> Tensor:
    """Hubness of candidates for known queries by HAF's own score, see `models.memory.log_mean_exp`.

    Over the `NEAREST` known queries by embedding of each candidate, as the rest does not come near.

    Args:
        model: A trained model, in evaluation mode.
        text: Texts: the candidates, or the known ones that ask.
        shapes: Shapes: the known ones that ask, or the candidates.
        side: What the candidates are.
        keys_values: Projections of the shapes by `HierarchicalAttentionFusion.project`; None makes them.
        keep: Known queries that count, bool ``[M, K]``; all by default.

    Returns:
        ``[M]`` logits, M candidates; 0 where none counts.
    """
    candidates, known = text.embedding, shapes.embedding
    if side == "shape":
        candidates, known = known, candidates
    if not len(known) or not len(candidates):
        return candidates.new_zeros(len(candidates))
    if keys_values is None:
        keys_values = model.haf.project(shapes)
    found = []
    for rows in torch.arange(len(candidates), device=candidates.device).split(CHUNK_PAIRS // NEAREST):
        similarity = candidates[rows] @ known.T
        if keep is not None:
            similarity = similarity.masked_fill(~keep[rows], -torch.inf)
        near, asking = similarity.topk(min(NEAREST, len(known)), dim=1)
        if side == "text":
            state = model.attend(text.select(rows), shapes, asking, keys_values=keys_values)
            score = model.haf.fuse(state).score
        else:  # every pair is a text with one candidate
            own = rows.unsqueeze(1).expand_as(asking).reshape(-1, 1)
            state = model.attend(text.select(asking.flatten()), shapes, own, keys_values=keys_values)
            score = model.haf.fuse(state).score.view_as(near)
        found.append(log_mean_exp(score, FINE_BETA, near > -torch.inf))
    return torch.cat(found)


def gallery_context(likeness: Tensor, hubness: Tensor) -> Tensor:
    """Features of a gallery as a whole, ``[len(GALLERY_CONTEXT)]``: how far it is from known shapes.

    Args:
        likeness: ``[M]`` cosines of its shapes and the known ones nearest to each.
        hubness: ``[M]`` logits.
    """
    if not len(hubness):
        return hubness.new_zeros(len(GALLERY_CONTEXT))
    spread = hubness.std(correction=0)
    return torch.stack([likeness.mean(), spread / (1 + spread), skewness(hubness)])


def skewness(values: Tensor) -> Tensor:
    """Third standardized moment of ``[M]`` numbers, a scalar; 0 where all are equal, or there is none."""
    if not len(values):
        return values.new_zeros(())
    centered = values - values.mean()
    deviation = centered.square().mean().sqrt()
    rounding = 1e-6 * values.abs().amax()
    skew = (centered / deviation.clamp_min(torch.finfo(values.dtype).tiny)).pow(3).mean()
    return torch.where(deviation > rounding, skew, 0.0)
