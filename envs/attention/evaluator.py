"""Evaluates candidates under a calibration, and again only what an action has touched.

An action on token weights changes no verdict on a token; one on an association those of one candidate; one on
gates mixes anew what the levels gathered; one on a temperature makes one level gather anew. What each row
needs is looked up, and rows of equal need go together.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from tensordict import TensorClass
from torch import Tensor

from envs.attention.dimensions import AttentionDims, Invalidation
from envs.attention.incremental import IncrementalUpdate, level_statistics
from envs.attention.kernels.backend import CompiledReevaluation, supports
from envs.attention.precompute import EpisodeCache, chunks, paired_columns, precompute, top_logits
from models import AttentionState, Calibration, HierarchicalAttentionFusion


class Evaluation(TensorClass):
    """What HAF makes of `B` rows under a calibration, as far as reward and observation need it.

    Attributes:
        score: Logits of the candidates, `[B, C]`.
        token_scores: Each token's own verdict, `[B, C, T]`; padding's weighs nothing and means nothing.
        divergence: KL(calibrated ‖ initial) of the maps, in nats, mean over heads and tokens, `[B, C, L]`.
        statistics: Statistics of the leading candidates' maps, `[B, leading, L, H, F]`.
    """

    score: Tensor
    token_scores: Tensor
    divergence: Tensor
    statistics: Tensor


class Evaluator:
    """Asks a frozen HAF.

    Args:
        haf: The model; its parameters are left alone, and it is asked without dropout.
        layout: What there is to act on.
        leading: How many candidates, in the order of the episode, have statistics.
    """

    def __init__(self, haf: HierarchicalAttentionFusion, layout: AttentionDims, leading: int = 4) -> None:
        self.haf = haf
        self.layout = layout
        self.leading = leading

    def compiles(self, attention: AttentionState) -> bool:
        """Whether what is made of an episode can be worked out by compiled kernels."""
        return supports(self.haf, attention)

    @torch.no_grad()
    def prepare(self, attention: AttentionState) -> tuple[EpisodeCache, Tensor, Tensor]:
        """What is fixed, the scores `[B, C]` and the tokens' verdicts `[B, C, T]` before any change.

        Args:
            attention: Candidates in any order; its logits are shifted in place, which changes no map.
        """
        with without_dropout(self.haf):
            work, token_scores = precompute(self.haf, self.layout, attention)
        return work, _score(attention, attention.token_logits, token_scores), token_scores

    @torch.no_grad()
    def first(
        self, attention: AttentionState, work: EpisodeCache, score: Tensor, token_scores: Tensor
    ) -> Evaluation:
        """The evaluation before any change, from what `prepare` gave, candidates in the episode's order.

        As it is known now who leads and who is paired, what was left empty of `work` is filled in.
        """
        parts, top = [], []
        pairs = self.leading * attention.mask.shape[1]
        for rows in chunks(len(score), pairs, score.device):
            seen = attention.logits[rows, : self.leading]
            maps = [seen[..., nodes].softmax(-1) for nodes in self.layout.slices]
            top.append(top_logits(self.layout, seen))
            places, regions = attention.centers[rows, : self.leading], attention.region[rows, : self.leading]
            parts.append(
                level_statistics(self.layout, maps, places, regions, attention.token_logits[rows].softmax(-1))
            )
        work.top = torch.cat(top)
        work.columns = paired_columns(self.layout, attention)
        return Evaluation(
            score=score,
            token_scores=token_scores,
            divergence=score.new_zeros(*score.shape, self.layout.levels),
            statistics=torch.cat(parts),
            batch_size=attention.batch_size,
        )

    @torch.no_grad()
    def update(
        self,
        attention: AttentionState,
        work: EpisodeCache,
        evaluation: Evaluation,
        before: Calibration,
        after: Calibration,
        reach: Tensor,
    ) -> Evaluation:
        """The evaluation after an action, given that of the state before.

        Args:
            attention: Of the episode, batch `[B]`.
            work: Of the episode.
            evaluation: Before the action; stays as it is.
            before: Calibration before the action.
            after: Calibration after the action.
            reach: What the action touched, a `Invalidation` i64 `[B]`.
        """
        every = reach == Invalidation.ALL
        paired = (reach == Invalidation.PAIRED) | (every & (after.association != 0).flatten(1).any(-1))
        # Actions on tokens alone leave these as they are, and share them with the state before.
        token_scores, divergence = evaluation.token_scores, evaluation.divergence
        statistics = evaluation.statistics
        if bool((every | paired).any()):
            token_scores, divergence = token_scores.clone(), divergence.clone()
            statistics = statistics.clone()
            with without_dropout(self.haf):
                kind = CompiledReevaluation if self.compiles(attention) else IncrementalUpdate
                anew = kind(
                    self.haf,
                    self.layout,
                    attention,
                    work,
                    before,
                    after,
                    token_scores,
                    divergence,
                    statistics,
                )
                anew.run(every, paired)
        return Evaluation(
            score=_score(attention, attention.token_logits + after.token, token_scores),
            token_scores=token_scores,
            divergence=divergence,
            statistics=statistics,
            batch_size=evaluation.batch_size,
        )

    @torch.no_grad()
    def divergence(
        self, attention: AttentionState, evaluation: Evaluation, calibration: Calibration
    ) -> Tensor:
        """KL(calibrated ‖ initial) of everything that a calibration changes, in nats, `[B]`.

        The maps' (mean over candidates, levels, heads, tokens), the level gates' (mean over tokens), the
        token weights' and the head weights' (mean over levels), added up, so that no family is free.

        Args:
            attention: Of the episode, batch `[B]`.
            evaluation: Under the calibration.
            calibration: Batch `[B]`.
        """
        own = self.haf.head.detach()  # [L, H]
        real = attention.mask
        gates = _kl(attention.gate_logits + calibration.level.unsqueeze(1), attention.gate_logits)  # [B, T]
        tokens = _kl(attention.token_logits + calibration.token, attention.token_logits)
        heads = _kl(own + calibration.head, own.expand_as(calibration.head))  # [B, L]
        gates = (gates * real).sum(-1) / real.sum(-1).clamp_min(1)
        return evaluation.divergence.mean((-1, -2)) + gates + tokens + heads.mean(-1)


def _kl(logits: Tensor, reference: Tensor) -> Tensor:
    """KL of softmax(logits) from softmax(reference) over the last axis; logits may be minus infinity."""
    p, q = logits.log_softmax(-1), reference.log_softmax(-1)
    return (p.exp() * torch.where(p > -torch.inf, p - q, 0.0)).sum(-1)


def _score(attention: AttentionState, token_logits: Tensor, token_scores: Tensor) -> Tensor:
    """Scores of the candidates `[B, C]` from those of tokens `[B, C, T]`."""
    return torch.einsum("bt,bct->bc", token_logits.softmax(-1), token_scores) + attention.global_score


@contextmanager
def without_dropout(module: torch.nn.Module) -> Iterator[None]:
    """The module in evaluation mode, and every part of it back to what it was."""
    training = [part for part in module.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True
