"""Episodes that are played over and over under a budget, what that cost, and the best of it.

Agents that learn from whole episodes play each labelled episode several times. What they hand back is the
best that came up: labels are known there, and a tree search keeps the best line that it has seen just so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from agents.base import DecisionProcess, PlanResult
from envs import RepeatedEpisodeRunner
from envs.runner import Step


class BestReturnRunner(RepeatedEpisodeRunner):
    """Rows that keep books: what each has cost, and the best state that it has passed through.

    A play could have stopped in any state it passed through, and stopping earns nothing, so the best of these
    states is a play's result. Doing nothing is the first of them.

    The horizon counts as an end (`Step.terminated`) and not as a cut: agents are after the return up to it,
    and see how many steps are left, so they must not add what might have come later (Pardo et al., 2018).

    Args:
        core: The decision process.
        episode: Row `i` plays the `i`-th of these.

    Attributes:
        evaluations: Transitions that were computed, i64 `[B]`; `stop` is free.
    """

    core: DecisionProcess

    def __init__(self, core: DecisionProcess, episode: Any) -> None:
        super().__init__(core, episode)
        done = core.done(self.first)
        self._zero = torch.zeros(len(done), device=done.device)
        self._none = torch.full((len(done), core.horizon), -1, device=done.device)
        self.evaluations = torch.zeros_like(done, dtype=torch.int64)
        self._return, self._parts = self._zero, dict[str, Tensor]()
        self._actions, self._moves = self._none.clone(), self.evaluations.clone()
        self._best_state = self.first.clone()
        self._best_return, self._best_parts = self._zero, dict[str, Tensor]()
        self._best_actions, self._best_moves = self._none, self._moves.clone()
        self.reset()

    @override
    def reset(self, generator: torch.Generator | None = None) -> None:
        super().reset()
        self._return, self._parts = self._zero, {}
        self._actions, self._moves = self._none.clone(), torch.zeros_like(self._moves)

    @override
    def reset_rows(self, rows: Tensor, generator: torch.Generator | None = None) -> None:
        super().reset_rows(rows)
        self._return = self._return.masked_fill(rows, 0.0)
        self._parts = {name: part.masked_fill(rows, 0.0) for name, part in self._parts.items()}
        self._actions[rows] = -1
        self._moves = self._moves.masked_fill(rows, 0)

    @override
    def step(self, action: Tensor, needed: Tensor | None = None) -> Step:
        alive = ~self.core.done(self.now.state)
        moved = alive if needed is None else alive & needed
        step = super().step(action, needed)
        moved = moved & step.legal
        self.evaluations += moved & (action != self.core.stop)
        self._return = self._return + step.reward * moved
        for name, part in step.parts.items():
            self._parts[name] = self._parts.get(name, self._zero) + part * moved
        rows = moved.nonzero().squeeze(1)
        self._actions[rows, self._moves[rows]] = action[rows]
        self._moves = self._moves + moved
        self._keep(moved & (self._return > self._best_return))
        ended = step.terminated | step.truncated
        return replace(step, terminated=ended, truncated=torch.zeros_like(ended))

    def result(self, statistics: dict[str, float] | None = None) -> PlanResult:
        """The best of each row, brought to an end by `stop`, which is free, where it has not ended yet."""
        state, actions, moves = self._best_state, self._best_actions.clone(), self._best_moves
        if self.core.stop is not None:
            going = ~self.core.done(state)
            stop = torch.full_like(moves, self.core.stop)
            state = self.core.transition(self.episode, state, stop, going)
            rows = going.nonzero().squeeze(1)
            actions[rows, moves[rows]] = self.core.stop
        used = int((actions >= 0).sum(1).max()) if len(actions) else 0
        return PlanResult(
            state=state,
            return_=self._best_return,
            parts=self._best_parts,
            evaluations=self.evaluations.clone(),
            actions=actions[:, :used],
            statistics=statistics or {},
        )

    def _keep(self, better: Tensor) -> None:
        """Take over how rows stand, bool `[B]`, as the best."""
        if not bool(better.any()):
            return
        self._best_state[better] = self.now.state[better]
        self._best_return = torch.where(better, self._return, self._best_return)
        for name, part in self._parts.items():
            self._best_parts[name] = torch.where(better, part, self._best_parts.get(name, self._zero))
        self._best_actions = torch.where(better.unsqueeze(1), self._actions, self._best_actions)
        self._best_moves = torch.where(better, self._moves, self._best_moves)


def play(
    core: DecisionProcess, episode: Any, choose: Callable[[Tensor, Tensor], Tensor], budget: int
) -> PlanResult:
    """Play episodes as often as the budget lasts; the best of each row.

    Args:
        core: The decision process.
        episode: `B` rows.
        choose: Gives actions `[B]` for observations `[B, O]` and masks `[B, A]`.
        budget: Evaluations of a row.
    """
    rows = BestReturnRunner(core, episode)
    for _ in range(budget):
        rows.reset_rows(rows.step(choose(rows.observation(), rows.mask())).terminated)
    return rows.result()
