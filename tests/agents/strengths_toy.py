"""A problem of scalar strengths with known answers: the best fixed one, and the best for each query."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from tensordict import TensorClass
from torch import Tensor


class StrengthState(TensorClass):
    """Batch size ``[B]``: steps up less down of each strength, steps taken, whether ``stop`` was chosen."""

    calibration: Tensor  # i64 [B, E]
    step: Tensor
    stopped: Tensor


@dataclass
class Strengths:
    """``E`` strengths that begin at 0 and go up or down by ``size``; action 0 is ``stop``.

    The return of strengths ``x`` is ``|t|^2 - |x - t|^2``, where ``t`` are the best ones of the episode: a
    separable, concave function. An episode is ``[B, E + F]``, ``t`` and then the features, which are observed
    and hold no label. The first ``E`` features say by how much ``t`` differs from ``mean``; the others say
    nothing.

    Attributes:
        mean: Best fixed strengths, ``[E]``.
        horizon: Largest number of steps.
        size: Size of a step.
        slope: Change of a best strength for a feature that is one standard deviation above its mean.
        noise: Standard deviation of what is left of the best strengths.
        idle: Number of features that say nothing.
    """

    mean: Tensor
    horizon: int = 8
    size: float = 0.5
    slope: float = 0.0
    noise: float = 0.0
    idle: int = 0
    transitions: int = 0
    stop: int = 0

    @property
    def strengths(self) -> int:
        return len(self.mean)

    @property
    def actions(self) -> int:
        return 1 + 2 * self.strengths

    @property
    def action_names(self) -> list[str]:
        return ["stop", *(f"{way} {e}" for e in range(self.strengths) for way in ("raise", "lower"))]

    @property
    def observation_size(self) -> int:
        return 2 * self.strengths + self.idle + 1

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        features = torch.randn(count, self.strengths + self.idle, generator=generator)
        rest = self.noise * torch.randn(count, self.strengths, generator=generator)
        best = self.mean + self.slope * features[:, : self.strengths] + rest
        return torch.cat([best, features], dim=1)

    def initial(self, episode: Tensor) -> StrengthState:
        zero = torch.zeros_like(episode[:, 0], dtype=torch.int64)
        none = zero.unsqueeze(1).expand(-1, self.strengths).clone()
        return StrengthState(calibration=none, step=zero, stopped=zero.bool(), batch_size=zero.shape)

    def transition(
        self, episode: Tensor, state: StrengthState, action: Tensor, active: Tensor | None = None
    ) -> StrengthState:
        moves = ~self.done(state) if active is None else ~self.done(state) & active
        changes = moves & (action > 0)
        self.transitions += int(changes.sum())
        which = (action - 1).clamp_min(0)
        change = torch.nn.functional.one_hot(which // 2, self.strengths) * (1 - 2 * (which % 2)).unsqueeze(1)
        return StrengthState(
            calibration=state.calibration + change * changes.unsqueeze(1),
            step=state.step + moves,
            stopped=state.stopped | (moves & (action == 0)),
            batch_size=state.batch_size,
        )

    def gain(self, episode: Tensor, state: StrengthState) -> Tensor:
        best = episode[:, : self.strengths]
        return best.square().sum(-1) - (self.size * state.calibration - best).square().sum(-1)

    def reward(
        self, episode: Tensor, state: StrengthState, action: Tensor, next_state: StrengthState
    ) -> tuple[Tensor, dict[str, Tensor]]:
        reward = self.gain(episode, next_state) - self.gain(episode, state)
        return reward, {"reward/all": reward}

    def observation(self, episode: Tensor, state: StrengthState) -> Tensor:
        left = 1 - state.step / self.horizon
        return torch.cat(
            [episode[:, self.strengths :], state.calibration / self.horizon, left.unsqueeze(1)], dim=1
        )

    def mask(self, episode: Tensor, state: StrengthState) -> Tensor:
        return torch.ones(len(episode), self.actions, dtype=torch.bool)

    def done(self, state: StrengthState) -> Tensor:
        return state.stopped | (state.step >= self.horizon)
