"""Measures speed against peers: ``python -m experiments.benchmark NAME [key=value ...] [out=FILE.json]``."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_type_hints

from rich.table import Table

import experiments.benchmarks
from align3d.console.arguments import values_by
from align3d.errors import UserError, did_you_mean
from experiments.benchmarks.base import BENCHMARKS, TABLES, Row, Run, as_json
from experiments.console import process, tables
from experiments.console.writable import writable_file


def main(arguments: Sequence[str]) -> int:
    """Runs the benchmark that the arguments name; the exit code."""
    for module in pkgutil.iter_modules(experiments.benchmarks.__path__):
        importlib.import_module(f"experiments.benchmarks.{module.name}")
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    try:
        process.keep_memory()
        run, settings, out = parse(arguments)
        rows = []
        for row in run(**settings):
            rows.append(row)
            print(f"{row.case}: {_figures(row)}", file=sys.stderr)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    tables.show(TABLES.get(arguments[0], table)(rows), width=130)
    if out is not None:
        out.write_text(json.dumps([as_json(row) for row in rows], indent=1) + "\n")
    return 0


def parse(arguments: Sequence[str]) -> tuple[Run, dict[str, Any], Path | None]:
    """The benchmark, its settings, and where to write.

    Raises:
        UserError: no such benchmark, no such setting, a value of the wrong kind, or a file that cannot be
            written: known now, and not once everything has been measured.
    """
    name, *rest = arguments
    if name not in BENCHMARKS:
        close = did_you_mean(name, BENCHMARKS)
        raise UserError(f"{name}: no such benchmark{close} (known: {', '.join(sorted(BENCHMARKS))})")
    run = BENCHMARKS[name]
    hints = {
        key: hint for key, hint in get_type_hints(run).items() if key in inspect.signature(run).parameters
    }
    settings = values_by({**hints, "out": Path}, rest, "out=FILE.json")
    out = settings.pop("out", None)
    return run, settings, None if out is None else writable_file(f"out={out}", out)


def usage() -> str:
    """What there is."""
    lines = ["python -m experiments.benchmark NAME [key=value ...] [out=FILE.json]", ""]
    for name, run in sorted(BENCHMARKS.items()):
        lines.append(f"  {name:<12}{(inspect.getdoc(run) or '').splitlines()[0]}")
        parameters = inspect.signature(run).parameters.values()
        lines.append(f"  {'':<12}{' '.join(f'{p.name}={_shown(p.default)}' for p in parameters)}")
    return "\n".join(lines)


def table(rows: Sequence[Row]) -> Table:
    """The rows for the terminal."""
    result = Table(title=f"{rows[0].benchmark}: a ratio above 1 means that ours is better" if rows else None)
    for heading in ("case", "metric", "ours", "peer", "ratio"):
        result.add_column(heading, justify="left" if heading in ("case", "metric") else "right")
    for row in rows:
        peer = "–" if row.peer is None else f"{row.peer:,.4g} ({row.peer_name})"
        ratio = "–" if row.ratio is None else f"{row.ratio:.2f}"
        result.add_row(row.case, row.metric, f"{row.ours:,.4g}", peer, ratio)
    return result


def _figures(row: Row) -> str:
    against = "" if row.ratio is None else f", {row.ratio:.2f} × {row.peer_name}"
    return f"{row.ours:,.4g} {row.metric}{against}"


def _shown(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
