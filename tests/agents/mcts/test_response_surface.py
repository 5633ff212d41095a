"""Response surfaces: what was not tried, from what was."""

from __future__ import annotations

import pytest
import torch

from agents.mcts import response_surface
from agents.mcts.response_surface import complete, step_kernel
from agents.multisets import Multiset

GRID: list[Multiset] = [(0,) * a + (1,) * b for a in range(4) for b in range(4) if a + b]


def test_the_kernel_is_quadratic_in_the_steps() -> None:
    kernel = step_kernel([(0,), (0, 1, 1), (1,)], 3)
    assert kernel.tolist() == [[2.0, 2.0, 0.0], [2.0, 30.0, 6.0], [0.0, 6.0, 2.0]]


def test_a_surface_of_second_order_is_found_from_a_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response_surface, "MISFIT", 1e-6)
    draws = torch.Generator().manual_seed(0)
    steps = torch.tensor([[one.count(0), one.count(1)] for one in GRID], dtype=torch.float64)
    forms = torch.cat([steps, steps.square(), steps.prod(1, keepdim=True)], dim=1)
    returns = torch.randn(30, 5, generator=draws, dtype=torch.float64) @ forms.T
    known = torch.zeros(30, len(GRID), dtype=torch.bool)
    for start in range(0, 30, 10):
        known[start : start + 10, torch.randperm(len(GRID), generator=draws)[:9]] = True
    known[0] = True  # each was tried at least once
    hidden = torch.where(known, returns, 1e6)  # nothing of it may be used
    torch.testing.assert_close(complete(hidden, known, step_kernel(GRID, 2)), returns, atol=1e-3, rtol=1e-3)


def test_an_episode_that_says_little_is_like_the_others() -> None:
    returns = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64).repeat(500, 1)
    known = torch.ones(500, 3, dtype=torch.bool)
    known[-1, 1:] = False
    returns[-1] = torch.tensor([1.0, -100.0, -100.0])
    found = complete(returns, known, step_kernel([(0,), (0, 0), (0, 0, 0)], 1))
    torch.testing.assert_close(found[-1], found[0], atol=0.15, rtol=0)
    torch.testing.assert_close(found[0], returns[0], atol=0.3, rtol=0)
