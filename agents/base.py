"""What every agent is: a protocol, the result of an episode, and how agents are saved.

To add an agent, subclass `Agent` in a file of your own and decorate it with `agents.register("name")`.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from agents.settings import at_least
from envs.protocol import FunctionalEnv

SCHEMA = 1


class DecisionProcess(FunctionalEnv, Protocol):
    """What agents act on: `envs.CalibrationCore`, or anything that is like it. Pure and batched."""

    @property
    def stop(self) -> int | None:
        """Action that ends an episode and earns nothing, None without one."""
        ...

    @property
    def horizon(self) -> int:
        """Steps an episode has at most."""
        ...


@dataclass
class PlanResult:
    """How an agent played `B` episodes.

    Attributes:
        state: Final state, batch size `[B]`.
        return_: Sum of the rewards, `[B]`.
        parts: Sums of the reward's parts by name, `[B]` each.
        evaluations: Transitions of the environment that were computed for it, i64 `[B]`.
        actions: Actions made, i64 `[B, moves]`, -1 after the end.
        statistics: What the agent has to say, numbers by name, for the log.
    """

    state: Any
    return_: Tensor
    parts: dict[str, Tensor]
    evaluations: Tensor
    actions: Tensor
    statistics: dict[str, float] = field(default_factory=dict)

    @property
    def calibration(self) -> Any:
        """The calibration that came out of it, batch size `[B]`."""
        return self.state.calibration

    def words(self, core: DecisionProcess) -> list[list[str]]:
        """The actions of each row in words."""
        return [[core.action_names[a] for a in row if a >= 0] for row in self.actions.tolist()]


class Rollout:
    """Plays `B` episodes move by move and keeps the books.

    Attributes:
        state: Where the rows stand.
    """

    def __init__(self, core: DecisionProcess, episode: Any) -> None:
        self.core, self.episode = core, episode
        self.state = core.initial(episode)
        self._actions: list[Tensor] = []
        self._rewards: list[Tensor] = []
        self._parts: list[dict[str, Tensor]] = []

    @property
    def alive(self) -> Tensor:
        """Rows that are not over, bool `[B]`."""
        return ~self.core.done(self.state)

    def move(self, action: Tensor, following: Any = None) -> Tensor:
        """Make one action a row, i64 `[B]`, and go to `following`, which is computed if not known yet.

        Rows that are over stay, and so do those with action -1, which then must stay in `following` too.

        Returns:
            The reward, `[B]`.
        """
        moves = self.alive & (action >= 0)
        if following is None:
            following = self.core.transition(self.episode, self.state, action, moves)
        reward, parts = self.core.reward(self.episode, self.state, action, following)
        self._rewards.append(reward * moves)
        self._parts.append({name: part * moves for name, part in parts.items()})
        self._actions.append(torch.where(moves, action, -1))
        self.state = following
        return self._rewards[-1]

    def result(self, evaluations: Tensor, statistics: dict[str, float] | None = None) -> PlanResult:
        """The books, closed."""
        zero = torch.zeros(evaluations.shape[0], device=evaluations.device)
        names = self._parts[0] if self._parts else {}
        parts = {name: sum((part[name] for part in self._parts), zero) for name in names}
        return PlanResult(
            state=self.state,
            return_=sum(self._rewards, zero),
            parts=parts,
            evaluations=evaluations,
            actions=torch.stack(self._actions, 1) if self._actions else evaluations.new_empty(len(zero), 0),
            statistics=statistics or {},
        )


class Agent(ABC):
    """Chooses actions.

    `plan` may use labels, through the reward; `calibrate` may not and goes by what is observed. One
    evaluation is one transition of one row that was not known before; `stop`, which changes nothing, is free.
    `budget` bounds evaluations per episode, for every agent alike.

    Args:
        budget: Evaluations an episode may cost.

    Attributes:
        name: What `make_agent` knows it by.
        acts_without_labels: Whether `calibrate` does more than leave the attention as it is.
    """

    name: ClassVar[str]
    acts_without_labels: ClassVar[bool] = False

    def __init__(self, budget: int = 32) -> None:
        at_least(0, budget=budget)
        self.budget = budget

    @abstractmethod
    def plan(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        """Play `B` labelled episodes as well as the budget allows."""

    @abstractmethod
    def calibrate(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        """Play `B` episodes without labels, from observations alone."""

    def learn(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        """Plan, and learn from it where there is something to learn. Losses are in the statistics."""
        return self.plan(core, episode, generator)

    def export_state(self) -> dict[str, Tensor]:
        """Everything that has been learnt, and what exact resumption needs, as flat tensors by name."""
        return {}

    def import_state(self, state: dict[str, Tensor]) -> None:
        """Take over what `export_state` gave.

        Raises:
            ValueError: The state is not that of such an agent.
        """
        if state:
            raise ValueError(f"{self.name}: learns nothing, but was given {', '.join(sorted(state)[:3])}")

    def save(self, path: Path, core: DecisionProcess) -> None:
        """Write `agent.safetensors` and `agent.json` into the folder `path`.

        Each is written beside and renamed, so that a crash leaves none half written.
        """
        path.mkdir(parents=True, exist_ok=True)
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.export_state().items()}
        save_file(state, path / "agent.safetensors.part")
        (path / "agent.json.part").write_text(json.dumps(self._about(core), indent=1) + "\n")
        for name in ("agent.safetensors", "agent.json"):
            os.replace(path / f"{name}.part", path / name)

    def load(self, path: Path, core: DecisionProcess) -> None:
        """Read what `save` wrote.

        Raises:
            ValueError: The folder is of another agent, another catalogue of actions or another observation,
                or a file in it is missing or damaged.
        """
        for name in ("agent.json", "agent.safetensors"):
            if not (path / name).is_file():
                raise ValueError(f"{path}: no {name} here; give a folder that an agent was saved in")
        try:
            about = dict(json.loads((path / "agent.json").read_text()))
            state = load_file(path / "agent.safetensors")
        except (ValueError, TypeError, SafetensorError) as error:  # not JSON, no object, no tensors
            raise ValueError(f"{path}: a file of the agent is damaged ({error}); save it again") from error
        for key, value in self._about(core).items():
            if about.get(key) != value:
                theirs, ours = _short(about.get(key)), _short(value)
                raise ValueError(
                    f"{path}: saved with {key} {theirs}, but here it is {ours}; use equal settings"
                )
        self.import_state(state)

    def _about(self, core: DecisionProcess) -> dict[str, Any]:
        """What an agent and a core must have in common with those that were saved."""
        return {
            "schema": SCHEMA,
            "agent": self.name,
            "actions": core.action_names,
            "observation_size": core.observation_size,
        }


def roll(
    core: DecisionProcess, episode: Any, choose: Callable[[Tensor, Tensor], Tensor], budget: int
) -> PlanResult:
    """Play episodes by a rule that gives actions `[B]` for observations `[B, O]` and masks `[B, A]`."""
    game = Rollout(core, episode)
    evaluations = torch.zeros_like(game.alive, dtype=torch.int64)
    for _ in range(min(core.horizon, budget)):
        alive = game.alive
        if not bool(alive.any()):
            break
        action = choose(core.observation(episode, game.state), core.mask(episode, game.state))
        evaluations += alive & (action >= 0) & (action != core.stop)
        game.move(action)
    return game.result(evaluations)


def uniform(shape: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
    """Uniform numbers in [0, 1), drawn where the generator lives: the same on every device."""
    return torch.rand(shape, generator=generator, device=generator.device).to(device)


def check_sizes(name: str, learnt: tuple[int, int], core: DecisionProcess) -> None:
    """Check that an agent that learnt with observations and actions of these sizes can act on a core.

    Raises:
        ValueError: It cannot.
    """
    for what, ours, theirs in zip(
        ("observations", "actions"), learnt, (core.observation_size, core.actions), strict=True
    ):
        if ours != theirs:
            raise ValueError(f"{name}: learnt with {what} of size {ours}, but here it is {theirs}")


def split_budget(budget: int, moves: int) -> list[int]:
    """Share a budget among moves as evenly as can be, the first ones getting what is left over."""
    return [budget // moves + (move < budget % moves) for move in range(moves)]


def _short(value: Any) -> str:
    return f"of {len(value)} names, {value[0]!r} to {value[-1]!r}" if isinstance(value, list) else repr(value)
