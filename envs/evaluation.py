"""Evaluates candidates under a calibration, and again only what an action has touched.

The maps of all candidates cost by far the most. An action on token weights changes none of them, one on an
association those of one candidate; so what each row needs is looked up, and rows of equal need go together.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from tensordict import TensorClass
from torch import Tensor

from envs.families import Layout, Reach
from models import AttentionOutput, AttentionState, Calibration, HierarchicalAttentionFusion
from models.statistics import attention_statistics

if TYPE_CHECKING:
    from envs.episodes import Episode

CHUNK_ELEMENTS = 4_000_000
"""Attention entries that are evaluated together: more than a cache holds only makes a CPU wait."""

TINY = 1e-30
"""Where a map is zero its logarithm is taken here; it is multiplied by that zero."""


class Evaluation(TensorClass):
    """What HAF makes of `B` rows under a calibration, as far as reward and observation need it.

    Attributes:
        score: Logits of the candidates, `[B, C]`.
        token_scores: Each token's own verdict, `[B, C, T]`.
        divergence: KL(calibrated ‖ initial) of the maps, in nats, mean over levels, heads, tokens, `[B, C]`.
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

    def __init__(self, haf: HierarchicalAttentionFusion, layout: Layout, leading: int = 4) -> None:
        self.haf = haf
        self.layout = layout
        self.leading = leading

    @torch.no_grad()
    def fuse(self, attention: AttentionState) -> AttentionOutput:
        """Scores and maps before any change."""
        with _without_dropout(self.haf):
            parts = [self.haf.fuse(attention[rows]) for rows in _chunks(attention)]
        names = ("score", "attention", "gates", "token_weights", "token_scores")
        return AttentionOutput(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})

    @torch.no_grad()
    def first(self, attention: AttentionState, output: AttentionOutput) -> Evaluation:
        """The evaluation before any change, from what `fuse` returned, candidates in the episode's order."""
        return Evaluation(
            score=output.score,
            token_scores=output.token_scores,
            divergence=torch.zeros_like(output.score),
            statistics=self._statistics(attention, output.attention),
            batch_size=attention.batch_size,
        )

    @torch.no_grad()
    def update(
        self, episode: Episode, evaluation: Evaluation, calibration: Calibration, reach: Tensor
    ) -> Evaluation:
        """The evaluation under `calibration`, given that of the state before the last action.

        Args:
            episode: Batch `[B]`.
            evaluation: Before the action; stays as it is.
            calibration: After the action.
            reach: What the action touched, a `Reach` i64 `[B]`.
        """
        new = evaluation.clone()
        with _without_dropout(self.haf):
            self._update_all(episode, new, calibration, (reach == Reach.ALL).nonzero().squeeze(-1))
            self._update_paired(episode, new, calibration, (reach == Reach.PAIRED).nonzero().squeeze(-1))
        weights = (episode.attention.token_logits + calibration.token).softmax(-1)  # [B, T]
        new.score = torch.einsum("bt,bct->bc", weights, new.token_scores) + episode.attention.global_score
        return new

    def _update_all(self, episode: Episode, new: Evaluation, calibration: Calibration, rows: Tensor) -> None:
        attention = episode.attention
        for part in _chunks(attention, rows):
            state = attention[part]
            output = self.haf.fuse(state, calibration[part])
            new.token_scores[part] = output.token_scores
            new.divergence[part] = self._divergence(output, episode.log_attention[part], state.mask)
            new.statistics[part] = self._statistics(state, output.attention)

    def _update_paired(
        self, episode: Episode, new: Evaluation, calibration: Calibration, rows: Tensor
    ) -> None:
        attention = episode.attention
        for part in _chunks(attention, rows, candidates=1):
            column = attention.paired[part]
            state = AttentionState(
                logits=attention.logits[part, column].unsqueeze(1),
                node_values=attention.node_values[part, column].unsqueeze(1),
                tokens=attention.tokens[part],
                gate_logits=attention.gate_logits[part],
                token_logits=attention.token_logits[part],
                mask=attention.mask[part],
                evidence=attention.evidence[part, column].unsqueeze(1),
                global_score=attention.global_score[part, column].unsqueeze(1),
                centers=attention.centers[part, column].unsqueeze(1),
                region=attention.region[part, column].unsqueeze(1),
                paired=torch.zeros_like(part),
                batch_size=[len(part)],
            )
            output = self.haf.fuse(state, calibration[part])
            initial = episode.log_attention[part, column].unsqueeze(1)
            new.token_scores[part, column] = output.token_scores.squeeze(1)
            new.divergence[part, column] = self._divergence(output, initial, state.mask).squeeze(1)
            seen = column < new.statistics.shape[1]
            if bool(seen.any()):
                statistics = self._statistics(state[seen], output.attention[seen])
                new.statistics[part[seen], column[seen]] = statistics.squeeze(1)

    def _statistics(self, state: AttentionState, maps: Tensor) -> Tensor:
        """Statistics of each leading candidate's maps `[B, C, H, T, N]`, `[B, leading, L, H, F]`."""
        batch = maps.shape[0]
        count = min(self.leading, maps.shape[1])

        def each(tensor: Tensor) -> Tensor:  # [B, C, ...] -> [B * leading, 1, ...]
            return tensor[:, :count].flatten(0, 1).unsqueeze(1)

        def shared(tensor: Tensor) -> Tensor:  # [B, ...] -> [B * leading, ...]
            return tensor.repeat_interleave(count, dim=0)

        unused = maps.new_empty(batch * count, 0)
        pairs = AttentionState(
            logits=unused,
            node_values=unused,
            tokens=unused,
            gate_logits=unused,
            token_logits=unused,
            mask=unused,
            evidence=unused,
            global_score=unused,
            centers=each(state.centers),
            region=each(state.region),
            paired=unused,
            batch_size=[batch * count],
        )
        output = AttentionOutput(
            score=each(state.global_score),
            attention=each(maps),
            gates=unused,
            token_weights=shared(state.token_logits.softmax(-1)),
            token_scores=unused,
        )
        statistics = attention_statistics(pairs, output, self.layout.level_sizes, leading=1)
        return statistics.unflatten(0, (batch, count))

    def _divergence(self, output: AttentionOutput, initial: Tensor, mask: Tensor) -> Tensor:
        """KL of maps from those of log `initial`, both `[B, C, H, T, N]`, mean over L, H and T, `[B, C]`."""
        maps = output.attention
        kl = (maps * (maps.clamp_min(TINY).log() - initial)).sum(-1).mean(2) / self.layout.levels  # [B, C, T]
        real = mask.unsqueeze(1)
        return (kl * real).sum(-1) / real.sum(-1).clamp_min(1)


def divergence(
    episode: Episode, evaluation: Evaluation, calibration: Calibration, head_logits: Tensor
) -> Tensor:
    """KL(calibrated ‖ initial) of everything that a calibration changes, in nats, `[B]`.

    The maps' (mean over candidates, levels, heads, tokens), the level gates' (mean over tokens), the token
    weights' and the head weights' (mean over levels), added up, so that no family is free.

    Args:
        episode: Batch `[B]`.
        evaluation: Under the calibration.
        calibration: Batch `[B]`.
        head_logits: HAF's own, `[L, H]`.
    """
    attention = episode.attention
    real = attention.mask
    gates = _kl(attention.gate_logits + calibration.level.unsqueeze(1), attention.gate_logits)  # [B, T]
    tokens = _kl(attention.token_logits + calibration.token, attention.token_logits)
    heads = _kl(head_logits + calibration.head, head_logits.expand_as(calibration.head))  # [B, L]
    gates = (gates * real).sum(-1) / real.sum(-1).clamp_min(1)
    return evaluation.divergence.mean(-1) + gates + tokens + heads.mean(-1)


def _kl(logits: Tensor, reference: Tensor) -> Tensor:
    """KL of softmax(logits) from softmax(reference) over the last axis; logits may be minus infinity."""
    p, q = logits.log_softmax(-1), reference.log_softmax(-1)
    return (p.exp() * torch.where(p > -torch.inf, p - q, 0.0)).sum(-1)


def _chunks(
    attention: AttentionState, rows: Tensor | None = None, candidates: int | None = None
) -> Iterator[Tensor]:
    """Rows (all of them by default) in pieces of `CHUNK_ELEMENTS` attention entries on a CPU, else in one."""
    if rows is None:
        rows = torch.arange(attention.batch_size[0], device=attention.logits.device)
    if len(rows) == 0:
        return iter(())
    if rows.device.type != "cpu":
        return iter((rows,))
    row = attention.logits[0].numel()
    if candidates is not None:
        row = row // attention.logits.shape[1] * candidates
    return iter(rows.split(max(1, CHUNK_ELEMENTS // max(row, 1))))


@contextmanager
def _without_dropout(module: torch.nn.Module) -> Iterator[None]:
    """The module in evaluation mode, and back to what it was."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)
