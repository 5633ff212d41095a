"""Rollout of episodes, which every agent plays with: their state, and what they have earned and cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from tensordict import TensorDict
from torch import Tensor
from typing_extensions import override

from agents.base import DecisionProcess, PlanResult
from envs import RepeatedEpisodeRunner
from envs.runner import Snapshot, Step


class Bookmark(NamedTuple):
    """A place in a play to which a rollout can go back.

    Attributes:
        snapshot: States of the rows.
        played: What was done and earned up to there.
    """

    snapshot: Snapshot
    played: TensorDict


class Rollout(RepeatedEpisodeRunner):
    """``B`` episodes that are played, once or over and over, and a record of what was done and earned.

    Agents call ``move``. Libraries with a training loop of their own call ``step`` through the adapters of
    ``envs``.

    The horizon counts as an end (``Step.terminated``) and not as a cut: agents are after the return up to it,
    and see how many steps are left, so they must not add what might have come later (Pardo et al., 2018).

    Args:
        core: The decision process.
        episode: Row ``i`` plays the ``i``-th of these.
        keep_best: Whether the result is the best state that each row has passed through in any of its plays,
            instead of where it stands. A play could have stopped there, and stopping earns nothing; doing
            nothing is the first of these states.

    Attributes:
        evaluations: Number of transitions that were computed, i64 ``[B]``; ``stop`` is free. An agent that
            computes some by itself adds them.
    """

    core: DecisionProcess

    def __init__(self, core: DecisionProcess, episode: Any, *, keep_best: bool = False) -> None:
        super().__init__(core, episode)
        self.keep_best = keep_best
        none = torch.full((self.count, core.horizon), -1, device=self.device)
        zero = torch.zeros(self.count, device=self.device)
        self.evaluations = torch.zeros_like(none[:, 0])
        self._nothing = TensorDict({"actions": none, "return": zero, "parts": {}}, batch_size=[self.count])
        self._best = self._nothing
        self._best_state: Any = self.first.clone() if keep_best else None
        self.reset()

    @property
    def state(self) -> Any:
        """State of the rows, batch size ``[B]``."""
        return self.now.state

    @property
    def alive(self) -> Tensor:
        """Rows that are not over, bool ``[B]``."""
        return ~self.core.done(self.state)

    @property
    def return_(self) -> Tensor:
        """Sum of the rewards since the first state, ``[B]``."""
        return self._played["return"]

    @override
    def reset(self, generator: torch.Generator | None = None) -> None:
        super().reset()
        self._played = self._nothing

    @override
    def reset_rows(self, rows: Tensor, generator: torch.Generator | None = None) -> None:
        super().reset_rows(rows)
        self._played = self._nothing.where(rows, self._played, pad=0.0)

    def move(self, action: Tensor, next_state: Any = None) -> Tensor:
        """Make one action per row and go to the state that follows.

        Args:
            action: i64 ``[B]``. Rows that are over stay as they are, and so do those with action -1.
            next_state: Where the actions lead, if that is known already; rows that stay must stay in it too.

        Returns:
            The reward, ``[B]``.
        """
        core, state, moved = self.core, self.state, self.alive & (action >= 0)
        if next_state is None:
            next_state = core.transition(self.episode, state, action, moved)
            self.evaluations += moved & (action != core.stop)
        reward, parts = core.reward(self.episode, state, action, next_state)
        self._move(next_state, core.done(next_state))
        return self._record(action, moved, reward, parts)

    @override
    def step(self, action: Tensor, active: Tensor | None = None) -> Step:
        moved = self.alive if active is None else self.alive & active
        step = super().step(action, active)
        moved = moved & step.legal
        self.evaluations += moved & (action != self.core.stop)
        self._record(action, moved, step.reward, step.parts)
        ended = step.terminated | step.truncated
        return replace(step, terminated=ended, truncated=torch.zeros_like(ended))

    def bookmark(self) -> Bookmark:
        """Bookmark of the play as it stands, to branch off from there later; it costs nothing."""
        return Bookmark(self.snapshot(), self._played)

    def go_back(self, bookmark: Bookmark) -> None:
        """Go back to a bookmark of this rollout. What was evaluated since stays counted."""
        self.restore(bookmark.snapshot)
        self._played = bookmark.played

    def result(self, statistics: dict[str, float] | None = None) -> PlanResult:
        """Result of the episodes as they stand, or of the best of each.

        A best state that is not over is brought to an end by ``stop``, which is free.
        """
        state, record, stop = self.state, self._played, self.core.stop
        if self.keep_best:
            state, record = self._best_state, self._best
        actions = record["actions"]
        if self.keep_best and stop is not None:
            alive = ~self.core.done(state)
            last = torch.full_like(self.evaluations, stop)
            state = self.core.transition(self.episode, state, last, alive)
            actions = _append(actions, last, alive)
        return PlanResult(
            state=state,
            return_=record["return"],
            parts=dict(record["parts"].items()),
            evaluations=self.evaluations.clone(),
            actions=actions[:, : int((actions >= 0).any(0).sum())],
            statistics=statistics or {},
        )

    def _record(self, action: Tensor, moved: Tensor, reward: Tensor, parts: dict[str, Tensor]) -> Tensor:
        """Record a move of the rows ``moved``, bool ``[B]``; their rewards, 0 in the others, ``[B]``.

        Raises:
            ValueError: A reward is NaN or infinite.
        """
        check_rewards(reward, action, moved)
        before, reward = self._played, reward * moved
        sums = {name: before["parts"].get(name, 0.0) + part * moved for name, part in parts.items()}
        actions = _append(before["actions"], action, moved)
        self._played = TensorDict(
            {"actions": actions, "return": before["return"] + reward, "parts": sums},
            batch_size=before.batch_size,
        )
        if self.keep_best:
            better = moved & (self.return_ > self._best["return"])
            if bool(better.any()):
                self._best = self._played.where(better, self._best, pad=0.0)
                self._best_state[better] = self.state[better]
        return reward


def check_rewards(reward: Tensor, action: Tensor, rows: Tensor) -> None:
    """Refuse rewards that nothing can be chosen by.

    Args:
        reward: Rewards of the actions, ``[B]``.
        action: Actions that were made, i64 ``[B]``.
        rows: Rows that count, bool ``[B]``.

    Raises:
        ValueError: One of them is NaN or infinite, naming row and action.
    """
    bad = rows & ~reward.isfinite()
    if bool(bad.any()):
        row = int(bad.nonzero()[0])
        raise ValueError(
            f"row {row}: the reward of action {int(action[row])} is {reward[row].item()}, "
            "expected a finite number"
        )


def make_actions(rollout: Rollout, sequences: Tensor) -> None:
    """Make the actions of a sequence in each row, i64 ``[B, n]``, -1 for none, unless illegal there."""
    for action in sequences.to(rollout.device).unbind(1):
        legal = rollout.mask().gather(1, action.clamp_min(0).unsqueeze(1)).squeeze(1)
        rollout.move(torch.where(legal, action, -1))


def roll(
    core: DecisionProcess, episode: Any, choose: Callable[[Tensor, Tensor], Tensor], budget: int
) -> PlanResult:
    """Play each episode once by a rule.

    Args:
        core: The decision process.
        episode: ``B`` rows.
        choose: Function from observations ``[B, O]`` and masks ``[B, A]`` to actions, i64 ``[B]``, -1 for
            none.
        budget: Largest number of moves per row.
    """
    rollout = Rollout(core, episode)
    for _ in range(min(budget, core.horizon)):
        if not bool(rollout.alive.any()):
            break
        rollout.move(choose(rollout.observation(), rollout.mask()))
    return rollout.result()


def roll_repeatedly(
    core: DecisionProcess, episode: Any, choose: Callable[[Tensor, Tensor], Tensor], budget: int
) -> PlanResult:
    """Play each episode by a rule as often as the budget lasts, and keep the best of it.

    Args:
        core: The decision process.
        episode: ``B`` rows.
        choose: Function from observations ``[B, O]`` and masks ``[B, A]`` to actions, i64 ``[B]``.
        budget: Number of moves per row, over all plays.
    """
    rollout = Rollout(core, episode, keep_best=True)
    for _ in range(budget):
        step = rollout.step(choose(rollout.observation(), rollout.mask()))
        rollout.reset_rows(step.terminated)
    return rollout.result()


def split_budget(budget: int, moves: int) -> list[int]:
    """Share a budget among moves as evenly as can be; the first ones get the remainder."""
    return [budget // moves + (move < budget % moves) for move in range(moves)]


def _append(actions: Tensor, action: Tensor, rows: Tensor) -> Tensor:
    """Append an action ``[B]`` to actions ``[B, horizon]``, -1 after the last, in ``rows``, bool ``[B]``."""
    length = (actions >= 0).sum(1, keepdim=True)
    here = torch.arange(actions.shape[1], device=actions.device) == length
    return torch.where(rows.unsqueeze(1) & here, action.unsqueeze(1), actions)
