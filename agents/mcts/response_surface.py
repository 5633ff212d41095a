"""Response surfaces over calibrations: what those would have earned that an episode has not tried.

A Gaussian process over the numbers of steps with a quadratic kernel is a surface of second order (Box &
Wilson, 1951). Episodes have one each, which is drawn to that of all episodes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from agents.multisets import Multiset

MISFIT = 3.0
"""Variance of an episode's returns around its surface; that of the effect of a single step is 2."""

SPREAD = 10 * MISFIT
"""Variance of the returns of episodes around the surface of all."""


def step_kernel(multisets: Sequence[Multiset], actions: int) -> Tensor:
    """Likeness of the effects of calibrations, float64 ``[K, K]``: ``s + s²`` of their numbers of steps.

    Args:
        multisets: ``K`` calibrations, none of which is to do nothing.
        actions: Number of actions.
    """
    steps = torch.zeros(len(multisets), actions, dtype=torch.float64)
    for row, multiset in enumerate(multisets):
        steps[row] = torch.bincount(torch.tensor(multiset), minlength=actions)
    product = steps @ steps.T
    return product + product.square()


def complete(returns: Tensor, known: Tensor, kernel: Tensor) -> Tensor:
    """Returns of all calibrations on all episodes, from those that are known.

    Args:
        returns: Float64 ``[N, K]``, of which those count that are
        known: bool ``[N, K]``; every calibration on one episode at least.
        kernel: From ``step_kernel``.
    """
    episodes = known.sum(0)
    means = (returns * known).sum(0) / episodes
    surface = kernel @ torch.linalg.solve(kernel + torch.diag(SPREAD / episodes), means)
    patterns, pattern = known.unique(dim=0, return_inverse=True)
    completed = torch.empty_like(returns)
    for number, tried in enumerate(patterns):  # episodes of a batch have tried the same
        rows = pattern == number
        noise = MISFIT * torch.eye(int(tried.sum()), dtype=kernel.dtype)
        smoother = torch.linalg.solve(kernel[tried][:, tried] + noise, kernel[tried])  # [k, K]
        completed[rows] = surface + (returns[rows][:, tried] - surface[tried]) @ smoother
    return completed
