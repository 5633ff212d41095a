"""Problems with known answers, as tables: functions like those of ``envs.CalibrationCore``."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from tensordict import TensorClass
from torch import Tensor


class ToyState(TensorClass):
    """Batch size ``[B]``: position, steps taken and whether ``stop`` was chosen."""

    calibration: Tensor  # the position, i64 [B]
    step: Tensor
    stopped: Tensor


@dataclass
class Table:
    """Deterministic moves between positions; action 0 is ``stop``. The observation is the position, one-hot.

    An episode is i64 ``[B]``: its first position.
    """

    after: Tensor  # i64 [P, A]
    earns: Tensor  # [P, A]
    legal: Tensor  # bool [P, A]
    horizon: int
    stop: int | None = 0
    transitions: int = 0

    @property
    def actions(self) -> int:
        return self.after.shape[1]

    @property
    def action_names(self) -> list[str]:
        return ["stop", *(f"move {a}" for a in range(1, self.actions))]

    @property
    def observation_size(self) -> int:
        return self.after.shape[0]

    def initial(self, episode: Tensor) -> ToyState:
        zero = torch.zeros_like(episode)
        return ToyState(calibration=episode, step=zero, stopped=zero.bool(), batch_size=episode.shape)

    def transition(
        self, episode: Tensor, state: ToyState, action: Tensor, active: Tensor | None = None
    ) -> ToyState:
        moves = ~self.done(state) if active is None else ~self.done(state) & active
        chosen = action.clamp_min(0)
        assert bool((self.mask(episode, state).gather(1, chosen[:, None]).squeeze(1) | ~moves).all())
        self.transitions += int((moves & (action != 0)).sum())
        return ToyState(
            calibration=torch.where(moves, self.after[state.calibration, chosen], state.calibration),
            step=state.step + moves,
            stopped=state.stopped | (moves & (action == 0)),
            batch_size=state.batch_size,
        )

    def reward(
        self, episode: Tensor, state: ToyState, action: Tensor, next_state: ToyState
    ) -> tuple[Tensor, dict[str, Tensor]]:
        moved = next_state.step > state.step
        reward = self.earns[state.calibration, action.clamp_min(0)] * moved
        return reward, {"reward/all": reward}

    def observation(self, episode: Tensor, state: ToyState) -> Tensor:
        return torch.nn.functional.one_hot(state.calibration, self.observation_size).float()

    def mask(self, episode: Tensor, state: ToyState) -> Tensor:
        return self.legal[state.calibration]

    def done(self, state: ToyState) -> Tensor:
        return state.stopped | (state.step >= self.horizon)


def bandit(earns: list[float]) -> Table:
    """One move, as many actions as there are rewards, and ``stop``."""
    actions = len(earns) + 1
    return Table(
        after=torch.zeros(1, actions, dtype=torch.int64),
        earns=torch.tensor([[0.0, *earns]]),
        legal=torch.ones(1, actions, dtype=torch.bool),
        horizon=1,
    )


def contexts(number: int = 4) -> Table:
    """One move from each of some places, where another action is the right one; the others cost.

    On average over the places, every fixed action costs.
    """
    places = torch.arange(number)
    earns = torch.full((number, number + 1), -0.5)
    earns[:, 0] = 0.0
    earns[places, places + 1] = 1.0
    return Table(
        after=places[:, None].expand(-1, number + 1).clone(),
        earns=earns,
        legal=torch.ones(number, number + 1, dtype=torch.bool),
        horizon=1,
    )


def trap() -> Table:
    """Two moves: move 1 earns at once and then nothing, move 2 costs at first and earns the most after."""
    after = torch.tensor([[0, 1, 2], [1, 1, 1], [2, 2, 2]])
    earns = torch.tensor([[0.0, 1.0, -1.0], [0.0, -0.5, -0.5], [0.0, 5.0, 0.0]])
    return Table(after, earns, torch.ones(3, 3, dtype=torch.bool), horizon=2)


def corridor(length: int = 5) -> Table:
    """One legal move at each place, a different one each time; only the last one earns anything."""
    actions = 4
    after = (torch.arange(length) + 1).clamp(max=length - 1)[:, None].expand(-1, actions).clone()
    legal = torch.zeros(length, actions, dtype=torch.bool)
    legal[:, 0] = True
    legal[torch.arange(length), 1 + torch.arange(length) % 3] = True
    earns = torch.zeros(length, actions)
    earns[length - 1, 1:] = 1.0
    return Table(after, earns, legal, horizon=length)
