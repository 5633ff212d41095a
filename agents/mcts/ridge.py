"""Ridge regression whose strength cross-validation finds, with standard errors."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

RIDGES = torch.logspace(-2, 6, 17, dtype=torch.float64)
"""Strengths that are tried; from one to the next it is a factor of 3.2."""


@dataclass(frozen=True)
class RidgeFit:
    """Regression of ``K`` targets on ``O`` inputs; all float64.

    Attributes:
        center: Mean of the inputs, ``[O]``.
        level: Mean of the targets, ``[K]``.
        slopes: Coefficients, ``[K, O]``.
        factor: ``[R, O]``, whose products with inputs are the roots of their leverages.
        rows: Number of rows on which each target was known, ``[K]``.
        covariance: Of the residuals of the targets, ``[K, K]``.
    """

    center: Tensor
    level: Tensor
    slopes: Tensor
    factor: Tensor
    rows: Tensor
    covariance: Tensor

    def predict(self, inputs: Tensor) -> Tensor:
        """Expected targets, ``[B, K]``, for inputs ``[B, O]``."""
        return self.level + (inputs - self.center) @ self.slopes.T

    def leads(self, inputs: Tensor, rival: int, coef: float) -> Tensor:
        """Lower bounds of how far each target is ahead of another one, ``[B, K]``; 0 for that one itself.

        The standard error of a target is as large as if its known rows were all there are.

        Args:
            inputs: ``[B, O]``.
            rival: The other target.
            coef: Number of standard errors that are subtracted.
        """
        predicted = self.predict(inputs)
        rows = self.rows.amax()
        leverage = 1 / rows + ((inputs - self.center) @ self.factor.T).square().sum(1, keepdim=True)
        own = self.covariance.diagonal()
        variance = (own + own[rival] - 2 * self.covariance[rival]).clamp_min(0)
        return (
            predicted
            - predicted[:, rival : rival + 1]
            - coef * (leverage * variance * rows / self.rows).sqrt()
        )

    def tensors(self) -> dict[str, Tensor]:
        """Everything by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def fit_ridge(inputs: Tensor, targets: Tensor, rows: Tensor) -> RidgeFit:
    """Fit targets ``[N, K]`` to inputs ``[N, O]``, with one strength for all of them.

    Of each target ``rows`` ``[K]`` are known; the rest was filled in.

    The strength is that of the smallest error in generalized cross-validation (Golub, Heath & Wahba, 1979)
    among those that leave half the degrees of freedom: the criterion is not to be trusted beyond.
    """
    count, center, level = len(inputs), inputs.mean(0), targets.mean(0)
    left, values, right = torch.linalg.svd(inputs - center, full_matrices=False)
    moments = left.T @ (targets - level)  # [R, K]
    total = (targets - level).square().sum()
    best, strength = math.inf, float(RIDGES[-1])
    for ridge in RIDGES.flip(0).tolist():
        shrunk = values.square() / (values.square() + ridge)
        freedom = count - 1 - float(shrunk.sum())
        if freedom < count / 2:
            break
        explained = (moments.square() * (shrunk * (2 - shrunk)).unsqueeze(1)).sum()
        error = float(total - explained) / freedom**2
        if error < best:
            best, strength = error, ridge
    scale = values.square() + strength
    residual = targets - level - left @ (moments * (values.square() / scale).unsqueeze(1))
    return RidgeFit(
        center=center,
        level=level,
        slopes=(moments.T * (values / scale)) @ right,
        factor=right / scale.sqrt().unsqueeze(1),
        rows=rows.to(inputs.dtype),
        covariance=residual.T @ residual / count,
    )
