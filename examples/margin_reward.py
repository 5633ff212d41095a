"""A reward term in one file: how far the right shape is ahead of the best wrong one."""

from __future__ import annotations

import torch
from torch import Tensor

from envs import EnvState, Episode, register_reward


@register_reward("margin")
def margin(episode: Episode, state: EnvState) -> Tensor:
    """The squashed margin of the best true candidate over the best wrong one, ``[B]``, in [-1, 1].

    The core rewards its change from state to state, so the returns of an episode add up to the whole gain.
    """
    score, positives = state.evaluation.score, episode.positives  # [B, C]
    best_true = score.masked_fill(~positives, -torch.inf).amax(-1)
    best_wrong = score.masked_fill(positives, -torch.inf).amax(-1)
    both = positives.any(-1) & ~positives.all(-1)  # without labels there is nothing to reward
    return torch.where(both, (best_true - best_wrong).tanh(), 0.0)
