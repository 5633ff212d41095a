"""Training loss: contrastive at both grains, grounding, and the term of the agent's calibration."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from experiments.data.attention_maps import lift, mass_on_part, mean_of, token_maps
from experiments.data.batches import Batch, WholeBatch
from experiments.data.part_mentions import NamedParts
from experiments.settings.schema import RunConfig
from models import AlignmentModel, PointHierarchy, TextEmbedding
from models.layers import full_precision
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
        config: Weights of the terms; the precision, and whether encoders are compiled.
        gather: Gathers tensors ``[...]`` of all processes, ``[processes, ...]``, where they share a batch.
    """

    def __init__(
        self,
        model: AlignmentModel,
        config: RunConfig,
        gather: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.train_config, self.dap = config.train, config.dap
        self._mixed = config.precision == "bf16-mixed"
        self._gather = gather
        self._encode_text, self._encode_shapes = model.encode_text, model.encode_shapes
        if config.compile:  # HAF's states are of a kind that is not compiled
            self._encode_text = torch.compile(model.encode_text)
            self._encode_shapes = torch.compile(model.encode_shapes)

    def forward(
        self, batch: Batch, calibrated: CalibratedRows | None = None, library: BatchLibrary | None = None
    ) -> dict[str, Tensor]:
        """The terms by TensorBoard's names; ``loss/total`` is what is minimized.

        Of a batch that processes share each has terms whose mean over the processes, and whose gradients'
        mean, are those of the whole batch.

        Args:
            batch: ``B`` pairs.
            calibrated: The agent's calibration of some rows, in a step in which it has one.
            library: What known pairs say of the batch's, in the last part of training.
        """
        device = batch.positives.device.type
        with torch.autocast(device, torch.bfloat16) if self._mixed else nullcontext():
            return self._terms(batch, calibrated, library)

    def _terms(
        self, batch: Batch, calibrated: CalibratedRows | None, library: BatchLibrary | None
    ) -> dict[str, Tensor]:
        text, shapes = self._encode_text(batch.text), self._encode_shapes(batch.shapes)
        rows = [_Rows(text, batch.positives, batch.ignored)]
        rows += [_Rows(self._encode_text(each.text), each.positives, each.ignored) for each in batch.more]
        terms = {"loss/global": self._global(rows, shapes, batch.whole)}
        substitute = calibrated is not None and self.dap.mode in ("substitute", "both")
        if not substitute:
            terms |= self._fine(rows, shapes, batch.candidates, library)
        if calibrated is not None:
            terms |= self._calibrated(text, shapes, calibrated, substitute)
        haf = terms["loss/fine"] + terms.get("loss/alone", 0.0)
        total = terms["loss/global"] + self.train_config.fine_weight * haf
        if batch.parts is not None and (len(batch.parts.rows) if batch.whole is None else batch.whole.named):
            terms["loss/grounding"] = self._grounding(text, shapes, batch.parts, batch.whole)
            total = total + self.train_config.grounding * terms["loss/grounding"]
        if "loss/distill" in terms:
            total = total + self.dap.weight * terms["loss/distill"]
        for name in ("loss/scores", "loss/calibrated_scores"):
            if name in terms:
                total = total + self.dap.score_weight * terms[name]
        return {"loss/total": total, **terms}

    def _global(self, rows: list[_Rows], shapes: PointHierarchy, whole: WholeBatch | None) -> Tensor:
        """The embeddings' loss over the whole batch, of all captions."""
        captions, shape = [each.text.embedding for each in rows], shapes.embedding
        if whole is None:
            positives = torch.cat([each.positives for each in rows])
            out = [each.ignored for each in rows if each.ignored is not None]
            ignored = torch.cat(out) if out else None
        else:
            assert self._gather is not None, "a share of a batch has the negatives of all processes"
            positives, ignored = whole.positives, whole.ignored
            gathered = self._gather(torch.stack([*captions, shape]))  # [processes, k + 1, B, E]
            *captions, shape = gathered.transpose(0, 1).flatten(1, 2).unbind()
        text = torch.cat(captions) if len(captions) > 1 else captions[0]
        with full_precision(text):
            logits = self.model.logit_scale * text.float() @ shape.float().T
        return symmetric_contrastive_loss(logits, positives, self.train_config.hubness, ignored)

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

    def _grounding(
        self, text: TextEmbedding, shapes: PointHierarchy, parts: NamedParts, whole: WholeBatch | None
    ) -> Tensor:
        """Minus the logarithm of the attention's share on the part that its words name, mean over pairs.

        Of a share of a batch: so weighted that the mean over the processes is that over all pairs.
        """
        haf, rows, length = self.model.haf, parts.rows, text.tokens.shape[1]
        if len(rows) == 0:
            return text.embedding.new_zeros(())
        output = haf.fuse(self.model.attend(text.select(rows), shapes, rows.unsqueeze(1)))
        region = shapes.region[rows, : haf.level_sizes[0]]
        lifted = lift(token_maps(haf, output), region, parts.points, haf.level_sizes)
        mass = mass_on_part(mean_of(lifted, parts.words[:, :length]), parts.points, parts.on_part)
        mean = -mass.clamp_min(_LEAST_MASS).log().mean()
        if whole is None:
            return mean
        processes = whole.positives.shape[1] / len(shapes.embedding)
        return mean * (processes * len(rows) / whole.named)

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
