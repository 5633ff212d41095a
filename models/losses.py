"""Contrastive losses with several right answers per row."""

from __future__ import annotations

import torch
from torch import Tensor

from models.memory import log_mean_exp


def multi_positive_cross_entropy(logits: Tensor, positives: Tensor) -> Tensor:
    """InfoNCE in which a row may have several positives (Khosla et al. 2020, eq. 2, per row the mean).

    Args:
        logits: ``[..., C]``.
        positives: ``[..., C]`` bool; rows without a positive count as zero.

    Returns:
        ``[...]``, the mean over a row's positives of their negative log-probabilities.
    """
    log_probability = logits.log_softmax(-1).masked_fill(~positives, 0.0)
    return -log_probability.sum(-1) / positives.sum(-1).clamp_min(1)


def symmetric_contrastive_loss(
    logits: Tensor, positives: Tensor, hubness: float = 0.0, ignored: Tensor | None = None
) -> Tensor:
    """Mean of both directions' InfoNCE.

    With ``hubness`` each candidate's logits are shifted by that of the batch: how readily it answers queries
    that are not its own. As a prior does in logit adjustment (Menon et al. 2021), what is added in training
    is taken off the scores: a hub has to be told apart by more. What is subtracted is a querybank
    normalization within the batch (Bogolin et al. 2022), which scores then rely on.

    Args:
        logits: ``[..., Q, C]`` texts x shapes.
        positives: ``[..., Q, C]`` bool.
        hubness: Weight of the candidates' hubness, below 0 to subtract it.
        ignored: ``[..., Q, C]`` bool, pairs that count neither as right nor as wrong; None for none.

    Returns:
        The scalar loss.
    """
    losses = []
    for scores, right, out in ((logits, positives, ignored), (logits.mT, positives.mT, _turned(ignored))):
        if hubness:
            counted = ~right if out is None else ~(right | out)
            shift = log_mean_exp(scores.detach().mT, 1.0, keep=counted.mT)
            scores = scores + hubness * shift.unsqueeze(-2)
        if out is not None:
            scores = scores.masked_fill(out, torch.finfo(scores.dtype).min)
        losses.append(multi_positive_cross_entropy(scores, right).mean())
    return 0.5 * (losses[0] + losses[1])


def score_divergence(target: Tensor, logits: Tensor, among: Tensor | None = None) -> Tensor:
    """KL(target || own) of distributions over candidates, through which only the own one learns.

    Args:
        target: ``[..., C]`` logits.
        logits: ``[..., C]`` likewise, the own ones.
        among: Candidates that a distribution is over, bool ``[..., C]``, at least one; all by default.

    Returns:
        The scalar mean over all leading axes, in nats.
    """
    target = target.detach()
    if among is not None:
        lowest = torch.finfo(logits.dtype).min
        target, logits = target.masked_fill(~among, lowest), logits.masked_fill(~among, lowest)
    wanted = target.log_softmax(-1)
    return (wanted.exp() * (wanted - logits.log_softmax(-1))).sum(-1).mean()


def attention_divergence(target: Tensor, attention: Tensor, weight: Tensor) -> Tensor:
    """KL(target || attention), weighted.

    Args:
        target: ``[..., T, N]`` attention that sums to one over the nodes of each level.
        attention: ``[..., T, N]`` likewise.
        weight: ``[..., T]``, broadcastable weights that sum to one over tokens.

    Returns:
        The scalar mean over all leading axes, in nats, summed over levels.
    """
    divergence = torch.where(
        target > 0, target * (target.clamp_min(1e-12).log() - attention.clamp_min(1e-12).log()), 0.0
    )
    return (divergence.sum(-1) * weight).sum(-1).mean()


def _turned(pairs: Tensor | None) -> Tensor | None:
    return None if pairs is None else pairs.mT
