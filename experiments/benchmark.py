"""Command that measures speed against peers: ``python -m experiments.benchmark NAME [key=value ...]``."""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

import experiments.benchmarks
from align3d.console.arguments import values_by
from align3d.console.command_frame import run_command
from align3d.console.declarations import declared, summary
from align3d.console.help_page import Section, page, settings_of
from align3d.console.rich_terminal import Terminal
from align3d.console.terminal import say
from align3d.errors import UserError, did_you_mean
from durable.whole_files import write_text
from experiments.benchmarks.base import BENCHMARKS, TABLES, Row, Run, as_json
from experiments.console import process, tables
from experiments.console.tables import number, ratio
from experiments.console.writable import writable_file


def main(arguments: Sequence[str]) -> int:
    """Runs the benchmark that the arguments name; the exit code."""
    for module in pkgutil.iter_modules(experiments.benchmarks.__path__):
        importlib.import_module(f"experiments.benchmarks.{module.name}")
    return run_command(arguments, usage, run)


def run(arguments: Sequence[str]) -> None:
    """Runs the benchmark, prints its table, and writes the file."""
    process.keep_memory()
    benchmark, settings, out = parse(arguments)
    rows = measured(arguments[0], benchmark(**settings))
    tables.show(TABLES.get(arguments[0], table)(rows), width=130)
    if out is not None:
        write_text(out, json.dumps([as_json(row) for row in rows], indent=1) + "\n")


def measured(name: str, rows: Iterable[Row]) -> list[Row]:
    """All rows of a benchmark; what has been measured last is shown on stderr meanwhile."""
    found: list[Row] = []
    console = Terminal(stderr=True)
    with console.status(f"{name}: measuring") as status:
        for row in rows:
            case = f"{name}: {row.case}: {number(row.ours)} {row.metric}"
            if console.is_terminal:
                status.update(case)
            elif not found or found[-1].case != row.case:
                say(f"{name}: {row.case}", error=True)
            found.append(row)
    return found


def parse(arguments: Sequence[str]) -> tuple[Run, dict[str, Any], Path | None]:
    """The benchmark, its settings, and where to write.

    Raises:
        UserError: No such benchmark, no such setting, a value of the wrong kind, or a file that cannot be
            written: known now, and not once everything has been measured.
    """
    name, *rest = arguments
    if name not in BENCHMARKS:
        close = did_you_mean(name, BENCHMARKS)
        raise UserError(f"{name}: no such benchmark{close} (known: {', '.join(sorted(BENCHMARKS))})")
    run = BENCHMARKS[name]
    hints = {name: setting.kind for name, setting in declared(run).items()}
    settings = values_by({**hints, "out": Path}, rest, "out=FILE.json")
    out = settings.pop("out", None)
    return run, settings, None if out is None else writable_file(f"out={out}", out)


def usage() -> str:
    """Help page of the command."""
    return page(
        "Measures speed against peers.",
        ["python -m experiments.benchmark NAME [key=value ...] [out=FILE.json]"],
        "python -m experiments.benchmark env batch=64 out=outputs/env.json",
        [Section(f"{name}: {summary(run)}", settings_of(run)) for name, run in sorted(BENCHMARKS.items())],
    )


def table(rows: Sequence[Row]) -> Table:
    """The rows for the terminal: a line for each case, with its peers one below the other."""
    result = Table(title=f"{rows[0].benchmark}: a ratio above 1 means that ours is better" if rows else None)
    for heading in ("case", "metric", "ours", "peer", "ratio"):
        result.add_column(heading, justify="left" if heading in ("case", "metric") else "right")
    groups: dict[tuple[str, str, float], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.case, row.metric, row.ours), []).append(row)
    for (case, metric, ours), peers in groups.items():
        figures = ["–" if row.peer is None else f"{number(row.peer)} ({row.peer_name})" for row in peers]
        ratios = ["–" if row.ratio is None else ratio(row.ratio) for row in peers]
        result.add_row(case, metric, number(ours), "\n".join(figures), "\n".join(ratios))
    return result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
