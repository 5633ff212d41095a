"""Loading of run folders: finished runs, unfinished ones, and those that cannot be read."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from align3d.console.typed_settings import setting
from align3d.errors import UserError
from durable.checksums import check_files, checked_json
from durable.errors import DamagedFileError
from durable.plain_data import read_json
from experiments.run_folder.names import CONFIG, JOURNAL, RESULTS, SCHEMA
from experiments.run_folder.results_schema import checked

#: Name of the progress of the agent's learning: transitions of the environment so far.
EVALUATIONS = "agent/evaluations"
#: Names of the agent's curves: with labels, on the episodes it learns from; without, on held-out queries.
LABELED, RETURN, GAIN = "reward/return", "validation/return", "validation/recall@1_gain"
CURVES = (RETURN, GAIN, LABELED)
_NUMBERS = (EVALUATIONS, *CURVES)


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: Its folder.
        results: Content of its results.json.
        settings: Its configuration, flat: ``reward.alpha`` and so on.
        curves: Points ``(agent/evaluations, value)`` in order, by name.
        notes: Sentences about what could not be read.
    """

    folder: Path
    results: Mapping[str, Any]
    settings: Mapping[str, Any]
    curves: Mapping[str, list[tuple[float, float]]] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def seed(self) -> int:
        """Return the seed of weights, batches and agent."""
        return int(self.results["seed"])

    def has(self, row: str) -> bool:
        """Whether the run has a row of retrieval metrics."""
        return row in self.results["metrics"]

    def metric(self, row: str, name: str) -> float:
        """Return a metric of retrieval.

        Args:
            row: Such as ``baseline``, ``reranked`` and ``final``.
            name: Name of the metric, such as ``text_to_shape/recall@1``.

        Raises:
            UserError: The run has no such metric.
        """
        figures = self.results["metrics"].get(row, {})
        if name not in figures:
            known = ", ".join(sorted(figures)) or "none at all"
            raise UserError(f"metric={name}: {self.folder} has no such metric in {row!r} (known: {known})")
        return float(figures[name])


@dataclass(frozen=True)
class Unfinished:
    """A run folder without results that can be read.

    Attributes:
        folder: The folder.
        reason: How far the run came, or what is wrong with it.
    """

    folder: Path
    reason: str


def find_runs(root: Path) -> tuple[list[Run], list[Unfinished]]:
    """Read all run folders below a folder, itself included, in the order of their names.

    Raises:
        UserError: There is no such folder, or no run in it, or none that is finished.
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
            f"go on with it: python -m experiments.run resume=true {setting('hydra.run.dir', first.folder)}"
        )
    return runs, unfinished


def read_run(folder: Path) -> Run | Unfinished:
    """Read one run folder."""
    path, journal = folder / RESULTS, RunMetrics(folder / JOURNAL)
    try:
        if not path.exists():
            return Unfinished(folder, _progress(journal))
        curves = _curves(journal)
        content = read_json(path)
    except OSError as error:
        return Unfinished(folder, f"{Path(error.filename or path).name} cannot be read: {error.strerror}")
    except DamagedFileError as error:
        return Unfinished(folder, str(error).replace(f"{path}:", RESULTS))
    try:
        results = checked(content)
        checked_json(path, content, needed=results["schema"] == SCHEMA)
    except ValueError as error:
        return Unfinished(folder, str(error))
    return Run(folder, results, dict(flatten(results["config"])), curves, journal.notes(results))


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Flatten nested dictionaries into pairs of dotted name and value."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


class RunMetrics:
    """Readable lines of a metrics.jsonl; none if there is no such file.

    Attributes:
        path: The file.
        damaged: Numbers of the lines that cannot be read, complete after one iteration.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged: list[int] = []

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.damaged.clear()
        if not self.path.is_file():
            return
        with self.path.open("rb") as file:
            for number, text in enumerate(file, 1):
                try:
                    line = json.loads(text)
                except (ValueError, RecursionError):
                    line = None
                if isinstance(line, dict) and all(_is_number(line.get(name)) for name in _NUMBERS):
                    yield line
                else:
                    self.damaged.append(number)

    def notes(self, results: Mapping[str, Any]) -> list[str]:
        """Describe what is missing or not as the run has left it.

        Args:
            results: Of the run; ``journal`` in them is the file's size and checksum.
        """
        run, name = self.path.parent.name, self.path.name
        if self.damaged:
            count = len(self.damaged)
            what = "1 line" if count == 1 else f"{count} lines"
            return [
                f"{run}: {what} of {name} cannot be read (the first is line {self.damaged[0]}), so its "
                "curves have gaps"
            ]
        if not self.path.exists():
            return [f"{run}: there is no {name}, so it has no curves"]
        try:
            check_files(self.path.parent, {name: results["journal"]} if results.get("journal") else {})
        except DamagedFileError as error:
            return [f"{run}: {error}, so its curves may have gaps or other values"]
        return []


def _is_number(value: object) -> bool:
    return value is None or isinstance(value, int | float)


def _curves(journal: RunMetrics) -> dict[str, list[tuple[float, float]]]:
    curves: dict[str, list[tuple[float, float]]] = {}
    for line in journal:
        place = line.get(EVALUATIONS)
        if line.get("phase") != "agent" or place is None:
            continue
        for name in CURVES:
            if line.get(name) is not None:
                curves.setdefault(name, []).append((float(place), float(line[name])))
    return curves


def _progress(journal: RunMetrics) -> str:
    last = deque(journal, maxlen=1)
    if not last:
        return "no step done"
    return f"stands at step {last[0].get('step')}, phase {last[0].get('phase')}"


def _natural(folder: Path) -> list[tuple[int, str]]:
    """Order 2-… before 10-…."""
    head = folder.name.split("-")[0]
    number = int(head) if head.isdigit() else -1
    return [(0, str(folder.parent)), (number, folder.name)]
