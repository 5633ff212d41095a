"""Ridge regression: what it fits, how strongly, and how sure it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor

from agents.mcts import ridge
from agents.mcts.ridge import RidgeFit, fit_ridge


def fitted(x: Tensor, y: Tensor) -> RidgeFit:
    """Fit of targets of which all rows are known."""
    return fit_ridge(x, y, torch.full((3,), len(x)))


def drawn(rows: int, inputs: int, noise: float, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, targets and the slopes that they were made of."""
    draws = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, inputs, generator=draws, dtype=torch.float64)
    slopes = torch.zeros(3, inputs, dtype=torch.float64)
    slopes[0, 0], slopes[1, 1] = 1.0, -2.0
    return x, x @ slopes.T + 3 + noise * torch.randn(rows, 3, generator=draws, dtype=torch.float64), slopes


@pytest.mark.parametrize("shape", [(100, 5), (20, 40)])
def test_it_is_a_ridge_regression(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ridge, "RIDGES", torch.tensor([300.0], dtype=torch.float64))
    x, y, _ = drawn(*shape, noise=1.0)
    fit, new = fitted(x, y), drawn(7, shape[1], 0.0, seed=1)[0]
    expected = Ridge(alpha=300.0).fit(x.numpy(), y.numpy())
    np.testing.assert_allclose(fit.predict(new).numpy(), expected.predict(new.numpy()))
    left = torch.from_numpy(y.numpy() - expected.predict(x.numpy()))
    torch.testing.assert_close(fit.covariance, left.T @ left / len(x))
    centered = x - x.mean(0)
    inverse = (centered.T @ centered + 300 * torch.eye(shape[1])).inverse()
    if shape[0] > shape[1]:
        torch.testing.assert_close(fit.factor.T @ fit.factor, inverse)


def test_noise_takes_a_strong_ridge_and_a_clear_case_a_weak_one() -> None:
    x, y, slopes = drawn(200, 40, noise=0.01)
    assert float((fitted(x, y).slopes - slopes).abs().max()) < 0.02
    x, y, _ = drawn(80, 40, noise=30.0)
    assert float(fitted(x, y).predict(x).std(0).max()) < 6, "it is 30 where noise is fitted"


def test_more_inputs_than_rows_are_not_fitted_to_the_letter() -> None:
    x, y, _ = drawn(20, 60, noise=1.0)
    left = y - fitted(x, y).predict(x)
    assert float(left.square().mean()) > 0.2


def test_standard_errors_are_those_of_repeated_draws() -> None:
    new = drawn(5, 4, 0.0, seed=99)[0]
    found, claimed = [], []
    for seed in range(300):
        x, y, _ = drawn(60, 4, noise=1.0, seed=seed)
        fit = fitted(x, y)
        found.append(fit.leads(new, 2, 0.0))
        claimed.append(fit.leads(new, 2, 0.0) - fit.leads(new, 2, 1.0))
    assert torch.stack(claimed)[..., 2].abs().max() < 1e-6, "no lead over itself"
    spread, error = torch.stack(found).std(0)[:, :2], torch.stack(claimed).mean(0)[:, :2]
    assert float((error / spread).min()) > 0.75
    assert float((error / spread).max()) < 1.25


def test_what_was_seldom_tried_is_less_sure() -> None:
    x, y, _ = drawn(60, 4, noise=1.0)
    errors = []
    for known in (60, 15):
        fit = fit_ridge(x, y, torch.tensor([60, known, 60]))
        errors.append(fit.leads(x, 2, 0.0) - fit.leads(x, 2, 1.0))
    torch.testing.assert_close(errors[1][:, 0], errors[0][:, 0])
    torch.testing.assert_close(errors[1][:, 1], 2 * errors[0][:, 1])
