"""The hybrid reward, as the difference of a potential.

`R = α·ΔR_internal + (1−α)·ΔR_external − λ·ΔKL(calibrated ‖ initial)` (3DAlign-DAER's hybrid reward; α, λ and
the exact terms are ours). As every part is a difference between two states, an episode's return is the whole
improvement, whatever the way there, and an action that is undone has gained nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.losses import multi_positive_cross_entropy

PARTS = ("internal", "external", "kl")


@dataclass(frozen=True)
class RewardConfig:
    """How the parts of the reward are mixed.

    Attributes:
        alpha: Share α of the internal reward; the external one has the rest.
        kl_weight: λ, price of a nat of divergence from the initial attention.
    """

    alpha: float = 0.5
    kl_weight: float = 0.05

    def __post_init__(self) -> None:
        if not 0.0 <= self.alpha <= 1.0:
            raise ValueError(
                f"reward.alpha={self.alpha}: must lie in [0, 1], 1 being the internal reward alone"
            )
        if not 0.0 <= self.kl_weight < float("inf"):
            raise ValueError(f"reward.kl_weight={self.kl_weight}: must be 0 or more, and finite")


def internal_potential(score: Tensor, positives: Tensor) -> Tensor:
    """Minus the contrastive loss of the true candidates among all, `[B]`, at most 0.

    Args:
        score: Logits of the candidates, `[B, C]`.
        positives: True candidates, bool `[B, C]`; a row without one gets 0.
    """
    return -multi_positive_cross_entropy(score, positives)


def external_potential(score: Tensor, positives: Tensor) -> Tensor:
    """Retrieval: the reciprocal rank of the best true candidate, `[B]`, in (0, 1].

    A wrong candidate with the same score ranks before it, so that scores that say nothing earn nothing. Other
    true candidates do not count against it. A row without a true candidate gets 0.

    Args:
        score: Logits of the candidates, `[B, C]`.
        positives: True candidates, bool `[B, C]`.
    """
    best = score.masked_fill(~positives, -torch.inf).amax(-1, keepdim=True)
    ahead = ((score >= best) & ~positives).sum(-1)
    return positives.any(-1) / (1 + ahead)


def potential(internal: Tensor, external: Tensor, kl: Tensor, config: RewardConfig) -> Tensor:
    """The weighted sum whose differences are rewards, `[B]`."""
    return config.alpha * internal + (1 - config.alpha) * external - config.kl_weight * kl
