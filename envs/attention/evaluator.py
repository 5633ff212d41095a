"""Evaluator of candidates under a calibration, which works out anew only what an action has touched.

An action on token weights changes no score of a token; one on an association those of one candidate; one on
gates mixes anew what the levels gathered; one on a temperature makes one level gather anew. What each row
needs is looked up, and rows of equal need go together.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import torch
from torch import Tensor

from envs.attention.dimensions import BACKENDS, AttentionDims, Backend, Invalidation
from envs.attention.episode_cache import EpisodeCache, Evaluation
from envs.attention.incremental import incremental_update, level_statistics
from envs.attention.kernels.backend import difference, obstacle, update_with_kernels
from envs.attention.precompute import CHUNK_PAIRS, chunks, paired_columns, precompute, top_logits
from models import AttentionState, Calibration, HierarchicalAttentionFusion
from models.haf import library_score, refuse_overrides


class Evaluator:
    """Evaluator of episodes by a frozen HAF under calibrations.

    Args:
        haf: The model; its parameters are left alone, and it is asked without dropout.
        dims: What there is to act on.
        leading: How many candidates, in the order of the episode, have statistics.
        backend: What steps are worked out with: `"torch"`, on any device; `"numba"`, faster, on a CPU in
            single precision; `"auto"`, Numba where it can serve, with a warning where it cannot because HAF
            scores tokens in another way than the kernels do.
        chunk_pairs: Pairs of a candidate and a token that PyTorch evaluates together on a CPU.

    Raises:
        ValueError: An unknown backend, or a HAF that fuses in another way than steps do.
    """

    def __init__(
        self,
        haf: HierarchicalAttentionFusion,
        dims: AttentionDims,
        leading: int = 4,
        backend: Backend = "auto",
        chunk_pairs: int = CHUNK_PAIRS,
    ) -> None:
        if backend not in BACKENDS:
            raise ValueError(f"backend={backend!r}: expected one of {', '.join(BACKENDS)}")
        refuse_overrides(haf, "the environment", "fuse", "_calibrate")
        self.haf = haf
        self.dims = dims
        self.leading = leading
        self.backend = backend
        self.chunk_pairs = chunk_pairs

    def uses_kernels(self, attention: AttentionState) -> bool:
        """Whether steps of an episode are worked out by compiled kernels.

        Raises:
            ValueError: The backend is `"numba"`, and they cannot serve.
        """
        if self.backend == "torch":
            return False
        unfit = obstacle(self.haf, attention)
        changed = None if unfit else self._difference
        if self.backend == "numba" and (unfit or changed):
            raise ValueError(f"backend=numba: {unfit or changed}; use backend=auto or backend=torch")
        return not (unfit or changed)

    @cached_property
    def _difference(self) -> str | None:
        """Difference of HAF from what the kernels compute; looked for once, and said once."""
        found = difference(self.haf)
        if found and self.backend == "auto":
            warnings.warn(f"{found}: steps are worked out with PyTorch, not by kernels", stacklevel=2)
        return found

    @torch.no_grad()
    def prepare(self, attention: AttentionState) -> tuple[EpisodeCache, Tensor, Tensor]:
        """The cache, the scores `[B, C]` and those of tokens `[B, C, T]` before any change.

        Args:
            attention: Candidates in any order; its logits are shifted in place, which changes no map.
        """
        with without_dropout(self.haf):
            cache, token_scores = precompute(self.haf, self.dims, attention, self.chunk_pairs)
        return cache, _score(attention, attention.token_logits, token_scores), token_scores

    @torch.no_grad()
    def first(
        self, attention: AttentionState, cache: EpisodeCache, score: Tensor, token_scores: Tensor
    ) -> Evaluation:
        """The evaluation before any change, from what `prepare` gave, candidates in the episode's order.

        As it is known now who leads and who is paired, what was left empty of the cache is filled in.
        """
        parts, top = [], []
        pairs = self.leading * attention.mask.shape[1]
        for rows in chunks(len(score), pairs, score.device, self.chunk_pairs):
            leading = attention.logits[rows, : self.leading]
            maps = [leading[..., nodes].softmax(-1) for nodes in self.dims.slices]
            top.append(top_logits(self.dims, leading))
            places, regions = attention.centers[rows, : self.leading], attention.region[rows, : self.leading]
            parts.append(
                level_statistics(self.dims, maps, places, regions, attention.token_logits[rows].softmax(-1))
            )
        cache.top = torch.cat(top)
        cache.columns = paired_columns(self.dims, attention)
        return Evaluation(
            score=score,
            token_scores=token_scores,
            divergence=score.new_zeros(*score.shape, self.dims.levels),
            statistics=torch.cat(parts),
            batch_size=attention.batch_size,
        )

    @torch.no_grad()
    def update(
        self,
        attention: AttentionState,
        cache: EpisodeCache,
        evaluation: Evaluation,
        before: Calibration,
        after: Calibration,
        reach: Tensor,
    ) -> Evaluation:
        """The evaluation after an action, given that of the state before.

        Args:
            attention: Of the episode, batch `[B]`.
            cache: Of the episode.
            evaluation: Before the action; stays as it is.
            before: Calibration before the action.
            after: Calibration after the action.
            reach: What the action touched, an `Invalidation`, i64 `[B]`.
        """
        touched = reach == Invalidation.ALL
        paired = (reach == Invalidation.PAIRED) | (touched & (after.association != 0).flatten(1).any(-1))
        # Actions on tokens alone leave all but the score as it is, and share it with the state before.
        following = evaluation.clone(recurse=False)
        if bool((touched | paired).any()):
            for name in ("token_scores", "divergence", "statistics"):
                following.set(name, evaluation.get(name).clone())
            given = (self.haf, self.dims, attention, cache, before, after, following, touched, paired)
            with without_dropout(self.haf):
                if self.uses_kernels(attention):
                    update_with_kernels(*given)
                else:
                    incremental_update(*given, self.chunk_pairs)
        score = _score(attention, attention.token_logits + after.token, following.token_scores)
        following.score = score + library_score(attention, after)
        return following

    @torch.no_grad()
    def divergence(
        self, attention: AttentionState, evaluation: Evaluation, calibration: Calibration
    ) -> Tensor:
        """KL(calibrated ‖ initial) of everything that a calibration changes, in nats, `[B]`.

        The maps' (mean over candidates, levels, heads, tokens), the level gates' (mean over tokens), the
        token weights', the head weights' (mean over levels) and that of the library on the candidates'
        probabilities, added up, so that no family is free.

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
        library = _kl(evaluation.score, evaluation.score - library_score(attention, calibration))
        gates = (gates * real).sum(-1) / real.sum(-1).clamp_min(1)
        return evaluation.divergence.mean((-1, -2)) + gates + tokens + heads.mean(-1) + library


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
