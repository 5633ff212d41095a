"""Honest controls of a memory of known pairs: ``python -m experiments.memory run=FOLDER``."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from align3d.console.command_frame import run_command
from align3d.console.terminal import say
from align3d.errors import UserError
from durable.checksums import write_json
from experiments.console import process, tables
from experiments.console.writable import writable_folder
from experiments.index_evaluation.load_run import check_run, open_run, read_config
from experiments.memory_controls.bank_controls import (
    by_caption,
    by_size,
    by_source,
    by_wrong_pairs,
    other_data,
)
from experiments.memory_controls.control_options import Control, Settings, parse, usage
from experiments.memory_controls.control_tables import control_table, cost_table, summarize
from experiments.memory_controls.examined_run import Case, Examined, examine
from experiments.memory_controls.query_controls import by_popularity, transductive
from experiments.memory_controls.query_costs import costs
from experiments.run_folder.names import CONFIG
from experiments.run_folder.readers import read_results
from experiments.run_folder.versions import versions

SCHEMA = 1
WIDTH = 170
MEASURES: dict[Control, Callable[[Examined, Settings], list[Case]]] = {
    "size": by_size,
    "captions": by_caption,
    "wrong": by_wrong_pairs,
    "source": by_source,
    "popularity": by_popularity,
    "transductive": transductive,
}
"""Controls that say what is found; the other one, ``cost``, says what that costs."""


def main(arguments: Sequence[str]) -> int:
    """Measures, prints the tables, writes the file; the exit code."""
    return run_command(arguments, usage, run)


def run(arguments: Sequence[str]) -> None:
    """Checks the settings, and measures."""
    process.keep_memory()
    process.use_threads(None)
    settings = parse(arguments)
    _check_runs(settings.run)
    if "source" in settings.controls:
        other_data(settings, read_config(settings.run[0] / CONFIG, settings.named))
    folder = settings.out or settings.run[0] / "memory"
    out = writable_folder(f"out={folder}", folder)
    measure_runs(settings, out)
    say(f"memory: {out / 'memory.json'}")


def measure_runs(settings: Settings, out: Path) -> None:
    """Measures one run after the other; prints and writes what was found in those that are done."""
    device = process.pick_device(settings.device)
    cases: dict[Control, list[list[Case]]] = {name: [] for name in settings.controls if name in MEASURES}
    spent: list[dict[str, float]] = []
    found: dict[Control, Any] = {}
    for place, folder in enumerate(settings.run, 1):
        say(f"run {place} of {len(settings.run)}: {folder}", error=True)
        trained = open_run(folder, device, settings.named)
        examined = examine(trained.model, trained.config, trained.corpus, device)
        for name, measured in cases.items():
            measured.append(MEASURES[name](examined, settings))
            found[name] = summarize(measured, settings.resamples, settings.seed)
        if "cost" in settings.controls:
            spent.append(costs(examined, settings))
            medians = {name: float(np.median([one[name] for one in spent])) for name in spent[0]}
            found["cost"] = {"median": medians, "by_run": spent}
        _write(settings, out, place, found)
    for control, content in found.items():
        if not content:  # it cannot be measured on these runs, and has said so
            continue
        table = cost_table(content["median"]) if control == "cost" else control_table(control, content)
        tables.show(table, WIDTH)


def _check_runs(folders: Sequence[Path]) -> None:
    """Refuses runs that are not finished, or that are not asked the same queries.

    Raises:
        UserError: There is one.
    """
    datasets = []
    for folder in folders:
        check_run(folder)
        datasets.append(read_results(folder)["dataset"])
    for folder, dataset in zip(folders, datasets, strict=True):
        if dataset != datasets[0]:
            raise UserError(
                f"run={folder}: other data or splits than {folders[0]}; expected runs of one dataset"
            )


def _write(settings: Settings, out: Path, runs: int, found: dict[Control, Any]) -> None:
    content = {
        "schema": SCHEMA,
        "settings": vars(settings),
        "runs": [str(folder) for folder in settings.run[:runs]],
        "dataset": read_results(settings.run[0])["dataset"],
        "versions": versions(),
        "machine": {"cores": process.available_cores(), "system": platform.platform()},
        "controls": found,
    }
    write_json(out / "memory.json", content, default=str)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
