"""Loggers that follow a run's journal: each gets the lines that it lacks, and none may cost the run."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from align3d.console.terminal import on_one_line, say
from durable.whole_files import write_text
from experiments.loggers.base import Picture, RunFacts, RunLogger, final_numbers
from experiments.loggers.mlflow_logger import MlflowLogger
from experiments.loggers.trackio_logger import TrackioLogger
from experiments.loggers.wandb_logger import WandbLogger

LOGGERS: dict[str, Callable[[RunFacts], RunLogger]] = {
    "wandb": WandbLogger,
    "mlflow": MlflowLogger,
    "trackio": TrackioLogger,
}
"""By the names that the setting ``loggers`` takes."""
KEY = "logged_as.txt"
"""File in a run's folder that names the run for the tools."""
_NO_VALUES = ("step", "phase", "time")


def facts_of(folder: Path, config: Mapping[str, Any]) -> RunFacts:
    """Return the facts of a run that loggers get; its key is drawn once and kept in its folder."""
    path = folder / KEY
    key = path.read_text().strip() if path.exists() else ""
    if not key:
        key = uuid.uuid4().hex[:12]
        write_text(path, key + "\n")
    tags = {
        "agent": str(config["agent"]["name"]),
        "data": str(config["data"]["name"]),
        "seed": str(config["seed"]),
    }
    return RunFacts(folder, key, config, tags)


class Follower:
    """A logger that is fed from the journal, and dropped with one line on stderr when it fails.

    Runs resume exactly, so a line of a step that the tool already has is the one that it has.

    Args:
        name: As the setting ``loggers`` names it.
        facts: Of the run.
    """

    def __init__(self, name: str, facts: RunFacts) -> None:
        self.name = name
        self._pictures: dict[str, Picture] = {}
        self._tool: RunLogger | None = None
        self._tool = self._try(lambda: LOGGERS[name](facts), "cannot begin")

    def lines(self, lines: Iterable[str]) -> None:
        """Take lines of the journal, in order; those that the tool has are left out."""
        for text in lines:
            tool, line = self._tool, json.loads(text)
            if tool is None:
                return
            step = int(line["step"])
            pictures, self._pictures = self._pictures, {}
            if step < tool.next_step:
                continue
            values = {
                f"{line['phase']}/{name}": float(value)
                for name, value in line.items()
                if name not in _NO_VALUES and value is not None and math.isfinite(value)
            }
            self._try(lambda: tool.write(step, values, pictures))  # noqa: B023  called at once

    def picture(self, name: str, pixels: Picture) -> None:
        """Take a picture, which is shown with the next line."""
        self._pictures[name] = pixels

    def results(self, results: Mapping[str, Any]) -> None:
        """Take the content of results.json."""
        if (tool := self._tool) is not None:
            self._try(lambda: tool.results(results, final_numbers(results)))

    def close(self, *, finished: bool) -> None:
        """Hand over what is left."""
        if (tool := self._tool) is not None:
            self._try(lambda: tool.close(finished=finished))
            self._tool = None

    def _try(self, call: Callable[[], Any], what: str = "has failed") -> Any:
        try:
            return call()
        except Exception as error:  # whatever a tool raises
            reason = on_one_line(f"{type(error).__name__}: {error}")[:200]
            say(f"loggers: {self.name} {what} ({reason}); the run goes on without it", error=True)
            self._tool = None
            return None


def followers(folder: Path, names: Sequence[str], config: Mapping[str, Any]) -> list[Follower]:
    """The loggers that a run names, opened; one that cannot be is told of and left out of the run.

    Args:
        folder: The run's folder.
        names: Names of `LOGGERS`.
        config: The settings, plain.
    """
    if not names:
        return []
    facts = facts_of(folder, config)
    return [Follower(name, facts) for name in names]
