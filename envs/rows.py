"""Rows of episodes being played, which every face is made of: it only translates to and from these.

The core is pure; somebody has to hold the episodes and their states, draw new ones for the rows that have
ended, and say what an illegal action means. That is done here, once, so that all faces agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from tensordict import TensorClass
from torch import Tensor

from envs.demo import DemoSource, demo_core
from envs.episodes import Episode, EpisodeSource
from envs.functional import CalibrationCore, EnvConfig, EnvState


class Snapshot(TensorClass):
    """All that decides what happens next in `B` rows, batch size `[B]`; later episodes are drawn anew.

    Attributes:
        episode: What is played on.
        state: Where it stands.
        ended: Rows whose end has been reported and that were not drawn anew since, bool `[B]`.
    """

    episode: Episode
    state: EnvState
    ended: Tensor


@dataclass(frozen=True)
class Step:
    """What one action a row has led to.

    Attributes:
        reward: `[B]`.
        parts: Parts of the reward by name, `[B]` each, see `CalibrationCore.reward`.
        legal: The mask allowed the action, bool `[B]`; true in rows that were left out.
        terminated: Ended by itself, bool `[B]`.
        truncated: Cut off at the horizon, and not ended, bool `[B]`.
    """

    reward: Tensor
    parts: dict[str, Tensor]
    legal: Tensor
    terminated: Tensor
    truncated: Tensor


class Rows:
    """`B` rows, each of which plays one episode after another.

    Args:
        core: The decision process.
        episodes: Where episodes come from.
        count: `B`.

    Raises:
        ValueError: Fewer than one row.
    """

    def __init__(self, core: CalibrationCore, episodes: EpisodeSource, count: int) -> None:
        if count < 1:
            raise ValueError(f"{count} rows: must be 1 or more")
        self.core = core
        self.episodes = episodes
        self.count = count
        self._now: Snapshot | None = None
        self._shared = False  # a snapshot outside has the same tensors

    @property
    def begun(self) -> bool:
        """There is an episode in every row."""
        return self._now is not None

    @property
    def now(self) -> Snapshot:
        """Episodes and states.

        Raises:
            RuntimeError: Before the first `begin`.
        """
        if self._now is None:
            raise RuntimeError("no episode yet; begin (reset) before anything else")
        return self._now

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.core.haf.head.device

    def begin(self, generator: torch.Generator) -> None:
        """Draw an episode for every row."""
        episode = self._draw(self.count, generator)
        ended = torch.zeros_like(episode.attention.paired, dtype=torch.bool)
        state = self.core.initial(episode)
        self._now = Snapshot(episode=episode, state=state, ended=ended, batch_size=[self.count])
        self._shared = False

    def renew(self, rows: Tensor, generator: torch.Generator) -> None:
        """Draw new episodes for some rows, bool `[B]`.

        Raises:
            ValueError: The new episodes have other sizes than those that go on.
        """
        count = int(rows.sum())
        if count == 0:
            return
        if count == self.count or not self.begun:
            self.begin(generator)
            return
        episode = self._draw(count, generator)
        old, new = self.now.episode.attention.logits.shape[1:], episode.attention.logits.shape[1:]
        if old != new:
            raise ValueError(
                f"episodes of other sizes: [C, H, T, N] is {list(new)}, was {list(old)}; "
                "a source must pad all that it draws to the same number of tokens and candidates"
            )
        if self._shared:
            self._now, self._shared = self.now.clone(), False
        self.now.episode[rows] = episode
        state, ended = self.now.state.clone(), self.now.ended.clone()
        state[rows] = self.core.initial(episode)
        ended[rows] = False
        self._move(state, ended)

    def step(self, action: Tensor, needed: Tensor | None = None) -> Step:
        """One action a row. An illegal one is a no-op that costs a step; a row that is done stays as it is.

        Args:
            action: i64 `[B]`.
            needed: Rows to step, bool `[B]`, the others stay as they are; None is all.

        Raises:
            ValueError: An action that is not in the catalogue.
        """
        core, episode, state = self.core, self.now.episode, self.now.state
        if needed is None:
            needed = torch.ones_like(state.stopped)
        outside = needed & ((action < 0) | (action >= core.actions))
        if bool(outside.any()):
            row = int(outside.nonzero()[0, 0])
            raise ValueError(f"action {int(action[row])} in row {row}: must lie in [0, {core.actions})")
        chosen = action.clamp(0, core.actions - 1)
        legal = core.mask(episode, state).gather(1, chosen.unsqueeze(1)).squeeze(1)
        following = core.transition(episode, state, chosen, needed=legal & needed)
        following.step = following.step + (needed & ~legal & ~core.done(state))
        reward, parts = core.reward(episode, state, chosen, following)
        terminated, truncated = core.terminal(following), core.truncated(following)
        self._move(following, torch.where(needed, terminated | truncated, self.now.ended))
        return Step(reward, parts, legal | ~needed, terminated, truncated)

    def observation(self) -> Tensor:
        """What agents see, float32 `[B, O]`."""
        return self.core.observation(self.now.episode, self.now.state)

    def mask(self) -> Tensor:
        """Legal actions, bool `[B, A]`."""
        return self.core.mask(self.now.episode, self.now.state)

    def potential(self) -> Tensor:
        """What rewards are the differences of, `[B]`."""
        return self.core.potential(self.now.state)

    def snapshot(self) -> Snapshot:
        """Where all rows stand. Costs nothing, and later steps leave it as it is; treat it as read-only."""
        self._shared = True
        return self.now

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot, of this or of another face with the same core. It can be used again.

        Raises:
            ValueError: A snapshot of another number of rows.
        """
        if snapshot.batch_size != (self.count,):
            raise ValueError(f"a snapshot of {list(snapshot.batch_size)} rows: expected [{self.count}]")
        self._now, self._shared = snapshot, True

    def _move(self, state: EnvState, ended: Tensor) -> None:
        episode = self.now.episode
        self._now = Snapshot(episode=episode, state=state, ended=ended, batch_size=[self.count])

    def _draw(self, count: int, generator: torch.Generator) -> Episode:
        episode = self.episodes.sample(count, generator)
        if episode.batch_size != (count,):
            raise ValueError(f"the source gave {list(episode.batch_size)} episodes; asked for [{count}]")
        return episode


def core_and_episodes(
    core: CalibrationCore | None, episodes: EpisodeSource | None, config: EnvConfig | None
) -> tuple[CalibrationCore, EpisodeSource]:
    """What a face is made with: what was given, or the demonstration.

    Raises:
        ValueError: A core without episodes or the other way round, or settings for a core that has its own.
    """
    if (core is None) != (episodes is None):
        raise ValueError("give both core and episodes, or neither for the demonstration")
    if core is not None and config is not None:
        raise ValueError("config is for the demonstration; the given core has its own")
    core = core or demo_core(config)
    return core, episodes or DemoSource(core)


def to_numpy(tensor: Tensor) -> NDArray[Any]:
    """A copy that shares no memory with the state."""
    return tensor.numpy(force=True).copy()
