"""Protocol of a logger, and the facts of the run that it gets."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

PROJECT = "align3d"
"""Project, or experiment, of the runs where the tool's own environment variable names no other."""

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class RunFacts:
    """Facts of a run that a logger gets as it opens.

    Attributes:
        folder: The run's folder.
        key: Name of the run among all runs of a tool, the same each time that the run is resumed.
        config: The settings, plain.
        tags: Agent, data and seed.
    """

    folder: Path
    key: str
    config: Mapping[str, Any]
    tags: Mapping[str, str]

    @property
    def settings(self) -> dict[str, Any]:
        """The settings by dotted names."""
        return dict(_flat(self.config))


class RunLogger(Protocol):
    """A tool that shows a run. Any method may raise; the run goes on without the tool then.

    Attributes:
        next_step: First step whose line the tool does not have yet.
    """

    next_step: int

    def write(self, step: int, values: Mapping[str, float], pictures: Mapping[str, Picture]) -> None:
        """Take a line of the journal.

        Args:
            step: Of the run.
            values: By name, such as ``train/loss/total``; each is finite.
            pictures: RGB ``[height, width, 3]`` by name.
        """
        ...

    def results(self, results: Mapping[str, Any], numbers: Mapping[str, float]) -> None:
        """Take the final results.

        Args:
            results: Content of results.json.
            numbers: The numbers in it that a table of runs compares, by name.
        """
        ...

    def close(self, *, finished: bool) -> None:
        """Hand over what is left; the run is done, or is left in the middle."""
        ...


def lazy(module: str) -> Any:
    """A module that is imported when a run asks for it, and not checked by type checkers."""
    return importlib.import_module(module)


def final_numbers(results: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of results.json that a table of runs compares: retrieval, and what the agent brought."""
    found = {
        f"final/{row}/{name}": value
        for row, metrics in results["metrics"].items()
        for name, value in metrics.items()
    }
    agent = results["agent"]
    found |= {f"final/agent/{name}": value for name, value in (agent.get("test") or {}).items()}
    return {**found, "final/agent/acts": float(agent["acts"])}


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        found += _flat(value, f"{name}.") if isinstance(value, Mapping) else [(name, value)]
    return found
