"""Refusal of numbers that no search can rank, NaN and infinities from a problem, by row and action."""

from __future__ import annotations

import torch
from torch import Tensor

from agents.search.tree import Step, Tree

EXPECTED = "expected a finite number"


def check_roots(tree: Tree) -> None:
    """Refuse roots that cannot be searched from; terminal ones may be anything.

    Raises:
        ValueError: The root's estimate is NaN or infinite, a prior is NaN or ``+inf``, or all are ``-inf``.
    """
    rows = torch.arange(tree.root.shape[0], device=tree.root.device)
    prior, value = tree.prior[rows, tree.root], tree.raw_value[rows, tree.root]
    bad = ~(prior.amax(-1) + value).isfinite() & ~tree.terminal[rows, tree.root]
    if bool(bad.any()):
        for row in bad.nonzero().flatten().tolist():
            _check_state(f"row {row}: the root's", "", value[row], prior[row], prior[row] != -torch.inf)


def check_step(step: Step, action: Tensor, stepped: Tensor, terminal: Tensor, dtype: torch.dtype) -> None:
    """Refuse an answer of the problem that cannot be backed up; what is not used may be anything.

    Args:
        step: Answer of the problem.
        action: Actions that were taken, i64 `[B]`.
        stepped: Rows whose answers are used, bool `[B]`.
        terminal: Rows that have ended, whose values and priors are not used, bool `[B]`.
        dtype: Dtype of the tree's values, in which the numbers have to be finite.

    Raises:
        ValueError: A reward or value is NaN or infinite, the prior of a legal action is NaN or ``+inf``, or
            that of all of them is ``-inf``.
    """
    reward = step.reward.to(dtype)
    ahead = torch.zeros_like(reward) if step.value is None else step.value.to(dtype)
    if step.prior is not None:
        ahead = ahead + torch.where(step.mask, step.prior.to(dtype), -torch.inf).amax(-1)
    bad = stepped & ~(reward.isfinite() & (ahead.isfinite() | terminal))
    if not bool(bad.any()):
        return
    for row in bad.nonzero().flatten().tolist():
        taken = int(action[row])
        if not bool(reward[row].isfinite()):
            raise ValueError(f"row {row}: the reward of action {taken} is {reward[row].item()}, {EXPECTED}")
        value = None if step.value is None else step.value[row].to(dtype)
        prior = None if step.prior is None else step.prior[row].to(dtype)
        _check_state(f"row {row}: the", f" after action {taken}", value, prior, step.mask[row])


def _check_state(whose: str, after: str, value: Tensor | None, prior: Tensor | None, legal: Tensor) -> None:
    """Refuse the estimate of a state, or the priors `[A]` of its legal actions, bool `[A]`."""
    if value is not None and not bool(value.isfinite()):
        raise ValueError(f"{whose} value{after} is {value.item()}, {EXPECTED}")
    if prior is None:
        return
    for action in (legal & ~(prior < torch.inf)).nonzero().flatten().tolist():
        raise ValueError(f"{whose} prior of action {action}{after} is {prior[action].item()}, {EXPECTED}")
    if not bool((legal & (prior > -torch.inf)).any()):
        raise ValueError(f"{whose} prior of every legal action{after} is -inf, {EXPECTED} for one")
