"""Training loss: contrastive at both grains, grounding, and the term of the agent's calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from experiments.data.attention_maps import lift, mass_on_part, mean_of, token_maps
from experiments.data.batches import Batch
from experiments.data.part_mentions import NamedParts
from experiments.settings.schema import RunConfig
from models import AlignmentModel, PointHierarchy, TextEmbedding
from models.losses import (
    attention_divergence,
    multi_positive_cross_entropy,
    score_divergence,
    symmetric_contrastive_loss,
)

if TYPE_CHECKING:
    from experiments.dap.batch_library import BatchLibrary
    from experiments.dap.controller import CalibratedRows

_LEAST_MASS = 1e-6


class AlignmentLoss(nn.Module):
    """The loss of a batch.

    Args:
        model: What is trained.
        config: Weights of the terms.
    """

    def __init__(self, model: AlignmentModel, config: RunConfig) -> None:
        super().__init__()
        self.model = model
        self.train_config, self.dap = config.train, config.dap

    def forward(
        self, batch: Batch, calibrated: CalibratedRows | None = None, library: BatchLibrary | None = None
    ) -> dict[str, Tensor]:
        """The terms by TensorBoard's names; ``loss/total`` is what is minimized.

        Args:
            batch: ``B`` pairs.
            calibrated: The agent's calibration of some rows, in a step in which it has one.
            library: What known pairs say of the batch's, in the last part of training.
        """
        model = self.model
        text, shapes = model.encode_text(batch.text), model.encode_shapes(batch.shapes)
        rows = [_Rows(text, batch.positives, batch.ignored)]
        rows += [_Rows(model.encode_text(each.text), each.positives, each.ignored) for each in batch.more]
        terms = {"loss/global": self._global(rows, shapes)}
        substitute = calibrated is not None and self.dap.mode in ("substitute", "both")
        if not substitute:
            terms |= self._fine(rows, shapes, batch.candidates, library)
        if calibrated is not None:
            terms |= self._calibrated(text, shapes, calibrated, substitute)
        haf = terms["loss/fine"] + terms.get("loss/alone", 0.0)
        total = terms["loss/global"] + self.train_config.fine_weight * haf
        if batch.parts is not None and len(batch.parts.rows):
            terms["loss/grounding"] = self._grounding(text, shapes, batch.parts)
            total = total + self.train_config.grounding * terms["loss/grounding"]
        if "loss/distill" in terms:
            total = total + self.dap.weight * terms["loss/distill"]
        for name in ("loss/scores", "loss/calibrated_scores"):
            if name in terms:
                total = total + self.dap.score_weight * terms[name]
        return {"loss/total": total, **terms}

    def _global(self, rows: list[_Rows], shapes: PointHierarchy) -> Tensor:
        """The embeddings' loss over the batch, of all captions."""
        text = torch.cat([each.text.embedding for each in rows]) if len(rows) > 1 else rows[0].text.embedding
        logits = self.model.logit_scale * text @ shapes.embedding.T
        positives = torch.cat([each.positives for each in rows])
        ignored = [each.ignored for each in rows if each.ignored is not None]
        hubness = self.train_config.hubness
        return symmetric_contrastive_loss(logits, positives, hubness, torch.cat(ignored) if ignored else None)

    def _fine(
        self, rows: list[_Rows], shapes: PointHierarchy, candidates: Tensor, library: BatchLibrary | None
    ) -> dict[str, Tensor]:
        """HAF's loss on every pair within the groups: with the embeddings' score, and on its own.

        Where the embeddings have a group right already, the sum teaches attention nothing; on its own it must
        earn every pair. With a library the same scores are drawn to what they are with it, those of the first
        caption of each shape.
        """
        group = candidates.shape[1]
        scores, alone = [], []
        for each in rows:
            state = self.model.attend(each.text, shapes, candidates)
            score = self.model.haf.fuse(state).score  # [B, G]
            scores.append(score.view(-1, group, group))
            alone.append((score - state.global_score).view(-1, group, group))
        positives, ignored = _within([each.positives for each in rows], candidates), None
        if rows[0].ignored is not None:
            ignored = _within([each.ignored for each in rows if each.ignored is not None], candidates)
        terms = {
            "loss/fine": symmetric_contrastive_loss(torch.cat(scores, 1), positives, ignored=ignored),
            "loss/alone": symmetric_contrastive_loss(torch.cat(alone, 1), positives, ignored=ignored),
        }
        if library is not None and self.dap.score_weight:
            terms["loss/scores"] = self._scores(scores[0], candidates, library)
        return terms

    def _scores(self, score: Tensor, candidates: Tensor, library: BatchLibrary) -> Tensor:
        """KL of HAF's distributions from those of its score with recall and hubness, in both directions.

        A distribution is over the candidates of the query's half.

        Args:
            score: ``[groups, G, G]`` texts × shapes.
            candidates: ``[B, G]`` the shapes, places in the batch.
            library: Of the batch.
        """
        scale, group = self.model.logit_scale.detach(), candidates.shape[1]
        recall = library.recall.gather(1, candidates).view(-1, group, group)
        same = library.same.gather(1, candidates).view(-1, group, group)
        calibrated = score.detach() + scale * self.dap.score_recall * recall
        strength = scale * self.dap.score_hubness
        shape_hubness = library.shape_hubness.view(-1, 1, group)
        text_hubness = library.text_hubness.view(-1, group, 1)
        by_text = score_divergence(calibrated - strength * shape_hubness, score, same)
        by_shape = score_divergence((calibrated - strength * text_hubness).mT, score.mT, same.mT)
        return 0.5 * (by_text + by_shape)

    def _grounding(self, text: TextEmbedding, shapes: PointHierarchy, parts: NamedParts) -> Tensor:
        """Minus the logarithm of the attention's share on the part that its words name, mean over pairs."""
        haf, rows, length = self.model.haf, parts.rows, text.tokens.shape[1]
        output = haf.fuse(self.model.attend(text.select(rows), shapes, rows.unsqueeze(1)))
        region = shapes.region[rows, : haf.level_sizes[0]]
        lifted = lift(token_maps(haf, output), region, parts.points, haf.level_sizes)
        mass = mass_on_part(mean_of(lifted, parts.words[:, :length]), parts.points, parts.on_part)
        return -mass.clamp_min(_LEAST_MASS).log().mean()

    def _calibrated(
        self, text: TextEmbedding, shapes: PointHierarchy, calibrated: CalibratedRows, substitute: bool
    ) -> dict[str, Tensor]:
        """The calibrated attention in place of HAF's own, and as its target."""
        haf, terms = self.model.haf, {}
        state = self.model.attend(
            text.select(calibrated.rows),
            shapes,
            calibrated.candidates,
            calibrated.paired,
            library=calibrated.library,
        )
        target = haf.fuse(state, calibrated.calibration)
        if substitute:
            terms["loss/fine"] = multi_positive_cross_entropy(target.score, calibrated.positives).mean()
        if self.dap.mode in ("distill", "both"):
            own = haf.fuse(state)
            weight = own.token_weights.detach()[:, None, None, :]  # over candidates and heads
            terms["loss/distill"] = attention_divergence(target.attention.detach(), own.attention, weight)
            if self.dap.score_weight:
                terms["loss/calibrated_scores"] = score_divergence(target.score, own.score)
        return terms


@dataclass
class _Rows:
    """One caption of each shape of a batch, encoded; ``positives`` and ``ignored`` as in a `Batch`."""

    text: TextEmbedding
    positives: Tensor
    ignored: Tensor | None


def _within(pairs: list[Tensor], candidates: Tensor) -> Tensor:
    """Pairs ``[B, B]`` of each of ``k`` captions, within groups: ``[groups, k * G, G]``, texts × shapes."""
    group = candidates.shape[1]
    return torch.cat([each.gather(1, candidates).view(-1, group, group) for each in pairs], dim=1)


def gradient_norm(parameters: list[nn.Parameter], largest: float) -> float:
    """Clips the gradients' common norm in place; what it was before."""
    return float(torch.nn.utils.clip_grad_norm_(parameters, largest))
