"""Reads run folders: what is finished, what is not, and what cannot be read."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.errors import UserError
from experiments.layout import CONFIG, JOURNAL, RESULTS, SCHEMA

#: How far along the agent's learning a line was written: transitions of the environment so far.
EVALUATIONS = "agent/evaluations"
#: The agent's curves: with labels, on the episodes it learns from; without, on held-out queries.
LABELLED, RETURN, GAIN = "reward/return", "validation/return", "validation/recall@1_gain"
CURVES = (RETURN, GAIN, LABELLED)


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: where it lies.
        results: its results.json.
        settings: its configuration, flat: ``reward.alpha`` and so on.
        curves: by name, the points ``(agent/evaluations, value)`` in order.
    """

    folder: Path
    results: Mapping[str, Any]
    settings: Mapping[str, Any]
    curves: Mapping[str, list[tuple[float, float]]] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        """The seed of weights, batches and agent."""
        return int(self.results["seed"])

    def metric(self, row: str, name: str) -> float:
        """A figure of retrieval.

        Args:
            row: ``baseline``, ``reranked`` or ``final``.
            name: such as ``text_to_shape/recall@1``.

        Raises:
            UserError: the run has no such figure.
        """
        figures = self.results["metrics"].get(row, {})
        if name not in figures:
            known = ", ".join(sorted(figures)) or "none at all"
            raise UserError(f"metric={name}: {self.folder} has no such metric in {row!r} (known: {known})")
        return float(figures[name])


@dataclass(frozen=True)
class Unfinished:
    """A run folder without results.

    Attributes:
        folder: where it lies.
        reason: how far it came, or what is wrong with it.
    """

    folder: Path
    reason: str


def find_runs(root: Path) -> tuple[list[Run], list[Unfinished]]:
    """Reads all run folders below a folder, itself included, in the order of their names.

    Raises:
        UserError: no such folder, or nothing in it that a run has left.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; expected one that holds runs, such as multirun/DATE/TIME")
    names = (RESULTS, CONFIG, JOURNAL)
    folders = sorted({path.parent for name in names for path in root.rglob(name)}, key=_natural)
    runs: list[Run] = []
    unfinished: list[Unfinished] = []
    for folder in folders:
        found = read_run(folder)
        (runs if isinstance(found, Run) else unfinished).append(found)  # type: ignore[arg-type]
    if not folders:
        raise UserError(f"{root}: no run in it; expected folders with {RESULTS}, which a finished run leaves")
    if not runs:
        first = unfinished[0]
        raise UserError(
            f"{root}: none of {len(unfinished)} runs is finished ({first.folder.name}: {first.reason}); "
            "go on with resume=true and their folder"
        )
    return runs, unfinished


def read_run(folder: Path) -> Run | Unfinished:
    """Reads one run folder."""
    path = folder / RESULTS
    if not path.exists():
        return Unfinished(folder, _progress(folder))
    try:
        results = json.loads(path.read_text())
        schema = results["schema"]
        if schema != SCHEMA:
            return Unfinished(folder, f"{RESULTS} of schema {schema}, expected {SCHEMA}")
        for key in ("config", "seed", "dataset", "metrics", "agent"):
            results[key]
    except (OSError, ValueError, TypeError) as error:
        return Unfinished(folder, f"{RESULTS} cannot be read: {error}")
    except KeyError as error:
        return Unfinished(folder, f"{RESULTS} has no {error.args[0]!r}")
    return Run(folder, results, dict(flatten(results["config"])), _curves(folder / JOURNAL))


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested dictionaries as pairs of dotted name and value."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The journal's lines; the last one of a run that is being written may be cut."""
    if not path.exists():
        return
    with path.open() as file:
        for text in file:
            try:
                line = json.loads(text)
            except json.JSONDecodeError:
                return
            if isinstance(line, dict):
                yield line


def _curves(path: Path) -> dict[str, list[tuple[float, float]]]:
    curves: dict[str, list[tuple[float, float]]] = {}
    for line in _lines(path):
        place = line.get(EVALUATIONS)
        if line.get("phase") != "agent" or place is None:
            continue
        for name in CURVES:
            if line.get(name) is not None:
                curves.setdefault(name, []).append((float(place), float(line[name])))
    return curves


def _progress(folder: Path) -> str:
    last = deque(_lines(folder / JOURNAL), maxlen=1)
    if not last:
        return "no step done"
    return f"stands at step {last[0].get('step')}, phase {last[0].get('phase')}"


def _natural(folder: Path) -> list[tuple[int, str]]:
    """Sorts 2-… before 10-…."""
    head = folder.name.split("-")[0]
    number = int(head) if head.isdigit() else -1
    return [(0, str(folder.parent)), (number, folder.name)]
