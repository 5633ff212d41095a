"""Model of returns of calibrations in a context: linear in what is observed, and smooth over calibrations.

What an episode would have earned by calibrations that it has not tried is filled in
(`agents.mcts.response_surface`), and the returns of all of them are regressed on its first observation
(`agents.mcts.ridge`). With a few hundred labels this gains what a network takes thousands for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from agents.mcts.response_surface import complete, step_kernel
from agents.mcts.ridge import RidgeFit, fit_ridge
from agents.multisets import NOTHING, Multiset, padded, unpadded

FEWEST = 32
"""Number of episodes below which a calibration is not judged."""

FAR = 5.0
"""Standard deviations from the mean at which observations are clipped."""

SMALL = 0.01
"""Number added to the standard deviations of observations, so that one that hardly varies is not blown up."""


class ContextValues:
    """Returns of ``K`` calibrations on the ``N`` last episodes, and what they say of an observation.

    An episode that comes again is known by its first observation, and counts once: its returns are the same,
    and would pass for more evidence than there is.

    Args:
        horizon: Largest number of actions of a calibration.
        actions: Number of actions, ``A``.
        capacity: Number of episodes that are kept.

    Attributes:
        columns: Place of each calibration.
        observations: First observations, ``[N, O]``.
        total: Sums of the returns, ``[N, K]``, and
        count: how many there are, ``[N, K]``.
        fitted: The ``F`` calibrations that values are known of; to do nothing, which earns 0, is the first.
    """

    def __init__(self, horizon: int, actions: int, capacity: int) -> None:
        self.horizon, self.actions, self.capacity = horizon, actions, capacity
        self.columns: dict[Multiset, int] = {}
        self.observations = torch.zeros(0, 0)
        self.total = torch.zeros(0, 0, dtype=torch.float64)
        self.count = torch.zeros(0, 0, dtype=torch.float64)
        self.fitted: list[Multiset] = [NOTHING]
        self._rows: dict[bytes, int] = {}
        self._fit: RidgeFit | None = None
        self._mean, self._spread = torch.zeros(0), torch.ones(0)

    def record(self, observation: Tensor, gains: Mapping[Multiset, Tensor]) -> None:
        """Record what calibrations have earned.

        Args:
            observation: First observations ``[B, O]``.
            gains: What each calibration has earned, ``[B]``.
        """
        rows = self._places(observation.float().cpu())
        for multiset, gain in gains.items():
            column = self._column(multiset)
            self.total[:, column].index_add_(0, rows, gain.double().cpu())
            self.count[:, column].index_add_(0, rows, torch.ones(len(rows), dtype=torch.float64))
        self._forget_oldest()

    def fit(self) -> None:
        """Fit what was recorded."""
        tried = self.count > 0
        used = [one for one, column in self.columns.items() if int(tried[:, column].sum()) >= FEWEST]
        if not used:
            return
        columns = [self.columns[multiset] for multiset in used]
        rows = tried[:, columns].any(1)
        known = tried[rows][:, columns]
        returns = (self.total[rows] / self.count[rows].clamp_min(1))[:, columns]
        returns = complete(returns, known, step_kernel(used, self.actions))
        observations = self.observations[rows]
        self._mean, self._spread = observations.mean(0), observations.std(0, correction=0) + SMALL
        episodes = torch.nn.functional.pad(known.sum(0), (1, 0), value=len(observations))
        self._fit = fit_ridge(self._inputs(observations), torch.nn.functional.pad(returns, (1, 0)), episodes)
        self.fitted = [NOTHING, *used]

    def predict(self, observation: Tensor) -> Tensor:
        """Expected returns of the fitted calibrations, float64 ``[B, F]``, for observations ``[B, O]``."""
        if self._fit is None:
            return torch.zeros(len(observation), 1, dtype=torch.float64)
        return self._fit.predict(self._inputs(observation))

    def choose(self, observation: Tensor, lcb_coef: float) -> Tensor:
        """Places of the best fitted calibrations, i64 ``[B]``, for observations ``[B, O]``.

        It is the one that earns most on average, or that which is ahead of it by most.

        Args:
            observation: First observations.
            lcb_coef: Number of standard errors that are subtracted from how far one is ahead.
        """
        if self._fit is None:
            return torch.zeros(len(observation), dtype=torch.int64)
        best_fixed = int(self._fit.level.argmax())
        return self._fit.leads(self._inputs(observation), best_fixed, lcb_coef).argmax(1)

    def means(self) -> dict[Multiset, float]:
        """Mean return of each calibration over the episodes on which it was tried."""
        mean = (self.total.sum(0) / self.count.sum(0).clamp_min(1)).tolist()
        return {multiset: mean[column] for multiset, column in self.columns.items()}

    def forget(self, unwanted: Iterable[Multiset]) -> None:
        """Forget what some calibrations have earned."""
        gone = set(unwanted)
        left = [multiset for multiset in self.columns if multiset not in gone]
        kept = [self.columns[multiset] for multiset in left]
        self.columns = {multiset: column for column, multiset in enumerate(left)}
        self.total, self.count = self.total[:, kept], self.count[:, kept]

    def tensors(self) -> dict[str, Tensor]:
        """Everything that is saved, by name."""
        fit = {} if self._fit is None else self._fit.tensors()
        return {
            "multisets": padded(list(self.columns), self.horizon),
            "observations": self.observations,
            "total": self.total,
            "count": self.count,
            "fitted": padded(self.fitted, self.horizon),
            "mean": self._mean,
            "spread": self._spread,
        } | {f"fit_{name}": tensor for name, tensor in fit.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what ``tensors`` returned.

        Raises:
            KeyError: A tensor is missing.
            ValueError: The shapes of the tensors do not fit together.
        """
        known, fitted = unpadded(tensors["multisets"]), unpadded(tensors["fitted"])
        rows, size = tensors["observations"].shape
        shapes = {"total": [rows, len(known)], "count": [rows, len(known)]}
        if len(fitted) > 1:
            shapes |= {"mean": [size], "spread": [size], "fit_center": [size], "fit_level": [len(fitted)]}
            shapes |= {
                "fit_slopes": [len(fitted), size],
                "fit_covariance": [len(fitted)] * 2,
                "fit_rows": [len(fitted)],
            }
            shapes |= {"fit_factor": [len(tensors["fit_factor"]), size]}
        for name, shape in shapes.items():
            if list(tensors[name].shape) != shape:
                raise ValueError(f"{name}: expected {shape}, got {list(tensors[name].shape)}")
        self.columns = {multiset: column for column, multiset in enumerate(known)}
        self.observations, self.total, self.count = (
            tensors[name] for name in ("observations", "total", "count")
        )
        self.fitted, self._mean, self._spread = fitted, tensors["mean"], tensors["spread"]
        fit = {name.removeprefix("fit_"): tensors[name] for name in shapes if name.startswith("fit_")}
        self._fit = RidgeFit(**fit) if fit else None
        self._rows = {_key(row): place for place, row in enumerate(self.observations)}

    def _inputs(self, observation: Tensor) -> Tensor:
        """Standardized observations, float64."""
        return ((observation.float().cpu() - self._mean) / self._spread).clamp(-FAR, FAR).double()

    def _places(self, observations: Tensor) -> Tensor:
        """Rows of episodes, i64 ``[B]``, which are made for those that are new."""
        keys = [_key(row) for row in observations]
        new = {key: row for key, row in zip(keys, observations, strict=True) if key not in self._rows}
        if new:
            added = torch.stack(list(new.values()))
            self._rows |= {key: len(self.observations) + place for place, key in enumerate(new)}
            self.observations = torch.cat([self.observations.view(-1, added.shape[1]), added])
            grown = (0, 0, 0, len(new))
            self.total, self.count = (
                torch.nn.functional.pad(table, grown) for table in (self.total, self.count)
            )
        return torch.tensor([self._rows[key] for key in keys])

    def _column(self, multiset: Multiset) -> int:
        if multiset not in self.columns:
            self.columns[multiset] = len(self.columns)
            self.total, self.count = (
                torch.nn.functional.pad(table, (0, 1)) for table in (self.total, self.count)
            )
        return self.columns[multiset]

    def _forget_oldest(self) -> None:
        extra = len(self.observations) - self.capacity
        if extra > 0:
            self.observations, self.total, self.count = (
                table[extra:] for table in (self.observations, self.total, self.count)
            )
            self._rows = {key: place - extra for key, place in self._rows.items() if place >= extra}


def _key(observation: Tensor) -> bytes:
    return observation.numpy().tobytes()
