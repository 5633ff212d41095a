"""Contrastive losses with several right answers per row."""

from __future__ import annotations

import torch
from torch import Tensor


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


def symmetric_contrastive_loss(logits: Tensor, positives: Tensor) -> Tensor:
    """Mean of both directions' InfoNCE.

    Args:
        logits: ``[..., Q, C]`` texts x shapes.
        positives: ``[..., Q, C]`` bool.

    Returns:
        The scalar loss.
    """
    rows = multi_positive_cross_entropy(logits, positives)
    columns = multi_positive_cross_entropy(logits.transpose(-1, -2), positives.transpose(-1, -2))
    return 0.5 * (rows.mean() + columns.mean())


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
