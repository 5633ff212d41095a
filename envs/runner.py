"""Batched episode runner shared by all adapters, which only translate to and from it.

The core is pure; a runner holds the episodes and their states, draws new ones for the rows that have ended,
and defines what an illegal action means: once, so that all adapters agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from tensordict import TensorClass
from torch import Tensor

from envs.protocol import FunctionalEnv, Source, device_of, ends, state_info, transition_legal


class Snapshot(TensorClass):
    """Episodes and states of ``B`` rows, batch size ``[B]``: all that the next steps depend on.

    Attributes:
        episode: Episodes that are played, such as an ``Episode``.
        state: Their states, such as an ``EnvState``.
        ended: Rows whose end has been reported and that were not drawn anew since, bool ``[B]``.
    """

    episode: Any
    state: Any
    ended: Tensor

    def __deepcopy__(self, memo: dict[int, Any]) -> Snapshot:
        return self.clone()


@dataclass(frozen=True)
class Step:
    """Outcome of one action per row.

    Attributes:
        reward: Reward of the transition, ``[B]``.
        parts: Parts of the reward by name, ``[B]`` each, see ``CalibrationCore.reward``.
        legal: Rows whose action the mask allowed, bool ``[B]``; true in rows that were left out.
        terminated: Rows that ended by themselves, bool ``[B]``.
        truncated: Rows that were cut off at the horizon and had not ended, bool ``[B]``.
    """

    reward: Tensor
    parts: dict[str, Tensor]
    legal: Tensor
    terminated: Tensor
    truncated: Tensor


class EpisodeRunner:
    """Runner of ``B`` rows, each of which plays one episode after another.

    Args:
        core: The decision process.
        episodes: Source of the episodes.
        count: Number of rows, ``B``.

    Raises:
        ValueError: Fewer than one row.
    """

    def __init__(self, core: FunctionalEnv, episodes: Source, count: int) -> None:
        if count < 1:
            raise ValueError(f"{count} rows: must be 1 or more")
        self.core = core
        self.episodes = episodes
        self.count = count
        self._now: Snapshot | None = None
        self._shared = False  # a snapshot outside, or the source, has the same tensors

    @property
    def started(self) -> bool:
        """Whether every row has an episode."""
        return self._now is not None

    @property
    def now(self) -> Snapshot:
        """Episodes and states.

        Raises:
            RuntimeError: Before the first ``reset``.
        """
        if self._now is None:
            raise RuntimeError("no episode yet; call reset before anything else")
        return self._now

    @property
    def device(self) -> torch.device:
        """Device of the tensors."""
        return self.now.ended.device if self.started else device_of(self.core)

    def reset(self, generator: torch.Generator) -> None:
        """Draw an episode for every row."""
        episode = self._draw(self.count, generator)
        state = self.core.initial(episode)
        ended = torch.zeros_like(self.core.done(state))
        self._now = Snapshot(episode=episode, state=state, ended=ended, batch_size=[self.count])
        self._shared = True

    def reset_rows(self, rows: Tensor, generator: torch.Generator) -> None:
        """Draw new episodes for some rows, bool ``[B]``.

        Raises:
            ValueError: The new episodes have other sizes than those that go on.
        """
        count = int(rows.sum())
        if count == 0:
            return
        if count == self.count or not self.started:
            self.reset(generator)
            return
        episode = self._draw(count, generator)
        old, new = _sizes(self.now.episode), _sizes(episode)
        if old != new:
            name = next(name for name in new if new[name] != old.get(name))
            raise ValueError(
                f"episodes of other sizes: {name} is {new[name]}, was {old.get(name)}; "
                "a source must pad all that it draws to the same number of tokens and candidates"
            )
        if self._shared:
            self._now, self._shared = self.now.clone(), False
        self.now.episode[rows] = episode
        state, ended = self.now.state.clone(), self.now.ended.clone()
        state[rows] = self.core.initial(episode)
        ended[rows] = False
        self._move(state, ended)

    def step(self, action: Tensor, active: Tensor | None = None) -> Step:
        """Take one action per row. An illegal one is a no-op that costs a step.

        Args:
            action: Number of each row's action, i64 ``[B]``.
            active: Rows that take their action, bool ``[B]``, or None for all. The others stay as they are,
                and so do rows that are done.

        Raises:
            ValueError: An action that is not in the catalogue, or another number of them than rows.
        """
        core, episode, state = self.core, self.now.episode, self.now.state
        if action.shape != (self.count,):
            raise ValueError(f"actions: expected [{self.count}], got {list(action.shape)}")
        if active is None:
            active = torch.ones_like(self.now.ended)
        chosen = action.clamp(0, core.actions - 1)
        outside = active & (chosen != action)
        if bool(outside.any()):
            row = int(outside.nonzero()[0, 0])
            raise ValueError(f"action {int(action[row])} in row {row}: must lie in [0, {core.actions})")
        legal = core.mask(episode, state).gather(1, chosen.unsqueeze(1)).squeeze(1)
        next_state = transition_legal(core, episode, state, chosen, legal & active)
        next_state.step = next_state.step + (active & ~legal & ~core.done(state))
        reward, parts = core.reward(episode, state, chosen, next_state)
        terminated, truncated = ends(core, next_state)
        self._move(next_state, torch.where(active, terminated | truncated, self.now.ended))
        return Step(reward, parts, legal | ~active, terminated, truncated)

    def observation(self) -> Tensor:
        """Observations, float32 ``[B, O]``."""
        return self.core.observation(self.now.episode, self.now.state)

    def mask(self) -> Tensor:
        """Legal actions, bool ``[B, A]``."""
        return self.core.mask(self.now.episode, self.now.state)

    def state_info(self) -> dict[str, Tensor]:
        """Further information, ``[B]`` each: the ``potential``, whose differences rewards are."""
        return state_info(self.core, self.now.state)

    def snapshot(self) -> Snapshot:
        """Episodes and states of all rows, read-only. It costs nothing, and later steps leave it as it is."""
        self._shared = True
        return self.now

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot of this or of another runner with the same core. It can be used again.

        Raises:
            ValueError: A snapshot of another number of rows.
        """
        if snapshot.batch_size != (self.count,):
            raise ValueError(f"a snapshot of {list(snapshot.batch_size)} rows: expected [{self.count}]")
        self._now, self._shared = snapshot, True

    def _move(self, state: Any, ended: Tensor) -> None:
        episode = self.now.episode
        self._now = Snapshot(episode=episode, state=state, ended=ended, batch_size=[self.count])

    def _draw(self, count: int, generator: torch.Generator) -> Any:
        episode = self.episodes.sample(count, generator)
        if len(episode) != count:
            raise ValueError(f"the source gave [{len(episode)}] episodes; asked for [{count}]")
        return episode


class _Given:
    """Source that has the same episodes at every draw."""

    def __init__(self, episode: Any) -> None:
        self.episode = episode

    def sample(self, count: int, generator: torch.Generator) -> Any:
        return self.episode


class RepeatedEpisodeRunner(EpisodeRunner):
    """Runner of ``B`` rows, each of which plays the same given episode over and over.

    Args:
        core: The decision process.
        episode: Episodes of the rows, in order.

    Attributes:
        episode: Episodes of the rows, as given.
        first: State that every play begins with, batch ``[B]``.
    """

    def __init__(self, core: FunctionalEnv, episode: Any) -> None:
        super().__init__(core, _Given(episode), len(episode))
        self.episode = episode
        self.first = core.initial(episode)

    @property
    def device(self) -> torch.device:
        """Device of the tensors."""
        return self.core.done(self.first).device

    def reset(self, generator: torch.Generator | None = None) -> None:
        """Go back to the first state in every row; nothing is drawn."""
        ended = torch.zeros_like(self.core.done(self.first))
        self._now = Snapshot(episode=self.episode, state=self.first, ended=ended, batch_size=[self.count])

    def reset_rows(self, rows: Tensor, generator: torch.Generator | None = None) -> None:
        """Go back to the first state in some rows, bool ``[B]``."""
        if not self.started or bool(rows.all()):
            self.reset()
        elif bool(rows.any()):
            state = self.now.state.clone()
            state[rows] = self.first[rows]
            self._move(state, self.now.ended & ~rows)


def _sizes(episode: Any) -> dict[str, list[int]]:
    """Shapes of an episode's tensors by name, without the batch axis."""
    if isinstance(episode, Tensor):
        return {"the episode": list(episode.shape[1:])}
    leaves = episode.to_tensordict().flatten_keys(".").items()
    return {name: list(value.shape[1:]) for name, value in leaves if isinstance(value, Tensor)}
