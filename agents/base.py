"""Protocol of all agents, the result of their episodes, and how agents are saved.

To add an agent, subclass ``Agent`` in a file of your own and decorate it with ``agents.register("name")``.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from agents.settings import at_least
from durable.checksums import checked_json, write_json
from durable.errors import DamagedFileError
from durable.tensor_files import read_tensors, write_tensors
from envs.protocol import FunctionalEnv

SCHEMA = 1
TENSORS, IDENTITY = "agent.safetensors", "agent.json"
"""Files of a saved agent."""


class DecisionProcess(FunctionalEnv, Protocol):
    """Pure, batched process that agents act on: ``envs.CalibrationCore``, or anything that is like it."""

    @property
    def stop(self) -> int | None:
        """Action that ends an episode and earns nothing, None without one."""
        ...

    @property
    def horizon(self) -> int:
        """Largest number of steps of an episode."""
        ...


@dataclass
class PlanResult:
    """Outcome of ``B`` episodes.

    Attributes:
        state: Final state, batch size ``[B]``.
        return_: Sum of the rewards, ``[B]``.
        parts: Sums of the parts of the reward by name, ``[B]`` each.
        evaluations: Transitions of the environment that were computed for it, i64 ``[B]``.
        actions: Actions made, one after the other, i64 ``[B, moves]``, and -1 after the last.
        statistics: Numbers for the log by name, such as losses.
    """

    state: Any
    return_: Tensor
    parts: dict[str, Tensor]
    evaluations: Tensor
    actions: Tensor
    statistics: dict[str, float] = field(default_factory=dict)

    @property
    def calibration(self) -> Any:
        """Calibration of the final state, batch size ``[B]``."""
        return self.state.calibration

    def words(self, core: DecisionProcess) -> list[list[str]]:
        """Names of the actions that each row has made."""
        return [[core.action_names[a] for a in row if a >= 0] for row in self.actions.tolist()]


class Agent(ABC):
    """Chooses actions.

    ``plan`` may use labels, through the reward; ``calibrate`` may not, and goes by what is observed. An
    evaluation is one transition of one row that was not known before; ``stop``, which changes nothing, is
    free. ``budget`` bounds the evaluations per episode, for every agent alike.

    Args:
        budget: Largest number of evaluations per episode.

    Attributes:
        name: Name under which the agent is registered.
        acts_without_labels: Whether ``calibrate`` does more than leave the attention as it is.
    """

    name: ClassVar[str]
    acts_without_labels: ClassVar[bool] = False

    def __init__(self, budget: int = 32) -> None:
        at_least(0, budget=budget)
        self.budget = budget

    @abstractmethod
    def plan(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        """Play ``B`` labeled episodes as well as the budget allows."""

    @abstractmethod
    def calibrate(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        """Play ``B`` episodes without labels, from observations alone."""

    def learn(self, core: DecisionProcess, episode: Any, generator: torch.Generator) -> PlanResult:
        """Plan, and learn from it if the agent learns at all. Losses are in the statistics."""
        return self.plan(core, episode, generator)

    def export_state(self) -> dict[str, Tensor]:
        """Everything that was learned, and what exact resumption needs, as flat tensors by name."""
        return {}

    def import_state(self, state: dict[str, Tensor]) -> None:
        """Restore what ``export_state`` returned.

        Raises:
            ValueError: The state is of another kind of agent.
        """
        if state:
            raise ValueError(f"{self.name}: learns nothing, but was given {', '.join(sorted(state)[:3])}")

    def save(self, path: Path, core: DecisionProcess) -> None:
        """Write ``agent.safetensors`` and ``agent.json`` into the folder ``path``, whole and with checksums.

        Raises:
            NoSpaceError: The disk does not take them.
        """
        write_tensors(path / TENSORS, self.export_state())
        write_json(path / IDENTITY, self._identity(core))

    def load(self, path: Path, core: DecisionProcess) -> None:
        """Read what ``save`` wrote, once its checksums have been compared.

        Raises:
            DamagedFileError: A file was cut or changed, or has no checksum.
            ValueError: The folder belongs to another agent, another catalogue of actions or another
                observation, or a file in it is missing.
        """
        for name in (IDENTITY, TENSORS):
            if not (path / name).is_file():
                raise ValueError(f"{path}: no {name} here; give a folder that an agent was saved in")
        try:
            saved = checked_json(path / IDENTITY, dict(json.loads((path / IDENTITY).read_text())))
            state, _ = read_tensors(path / TENSORS)
        except DamagedFileError as error:
            raise DamagedFileError(f"{error}; save the agent again") from error
        except (ValueError, TypeError) as error:  # not JSON, or no object
            raise DamagedFileError(f"{path / IDENTITY} is damaged ({error}); save the agent again") from error
        for key, value in self._identity(core).items():
            if saved.get(key) != value:
                theirs, ours = _short(saved.get(key)), _short(value)
                raise ValueError(
                    f"{path}: saved with {key} {theirs}, but here it is {ours}; use equal settings"
                )
        self.import_state(state)

    def _identity(self, core: DecisionProcess) -> dict[str, Any]:
        """Properties that must agree between what was saved and what it is loaded into."""
        return {
            "schema": SCHEMA,
            "agent": self.name,
            "actions": core.action_names,
            "observation_size": core.observation_size,
        }


def check_sizes(name: str, learned: tuple[int, int], core: DecisionProcess) -> None:
    """Check that an agent can act on a core.

    Args:
        name: Name of the agent.
        learned: Sizes of the observations and of the actions that the agent has learned with.
        core: The decision process.

    Raises:
        ValueError: The core has observations or actions of another size.
    """
    for what, ours, theirs in zip(
        ("observations", "actions"), learned, (core.observation_size, core.actions), strict=True
    ):
        if ours != theirs:
            raise ValueError(f"{name}: learned with {what} of size {ours}, but here it is {theirs}")


def _short(value: Any) -> str:
    return f"of {len(value)} names, {value[0]!r} to {value[-1]!r}" if isinstance(value, list) else repr(value)
