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

from pydantic import TypeAdapter, ValidationError
from rich.table import Table

import experiments.benchmarks
from experiments import runtime, tables
from experiments.benchmarks.base import BENCHMARKS, TABLES, Row, Run, as_json
from experiments.errors import USER_ERRORS, UserError, did_you_mean


def main(arguments: Sequence[str]) -> int:
    """Runs the benchmark that the arguments name; the exit code."""
    for module in pkgutil.iter_modules(experiments.benchmarks.__path__):
        importlib.import_module(f"experiments.benchmarks.{module.name}")
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    try:
        runtime.keep_memory()
        run, settings, out = parse(arguments)
        rows = []
        for row in run(**settings):
            rows.append(row)
            print(f"{row.case}: {_figures(row)}", file=sys.stderr)
    except USER_ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    tables.show(TABLES.get(arguments[0], table)(rows), width=130)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps([as_json(row) for row in rows], indent=1) + "\n")
    return 0


def parse(arguments: Sequence[str]) -> tuple[Run, dict[str, Any], Path | None]:
    """The benchmark, its settings, and where to write.

    Raises:
        UserError: no such benchmark, no such setting, or a value of the wrong kind.
    """
    name, *rest = arguments
    if name not in BENCHMARKS:
        close = did_you_mean(name, BENCHMARKS)
        raise UserError(f"{name}: no such benchmark{close} (known: {', '.join(sorted(BENCHMARKS))})")
    run = BENCHMARKS[name]
    parameters, hints = inspect.signature(run).parameters, get_type_hints(run)
    settings: dict[str, Any] = {}
    out = None
    for argument in rest:
        key, equals, text = argument.partition("=")
        if not equals:
            raise UserError(f"{argument!r}: expected key=value, as in out=FILE.json")
        if key == "out":
            out = Path(text)
            continue
        if key not in parameters:
            close = did_you_mean(key, [*parameters, "out"])
            raise UserError(
                f"{key}: {name} has no such setting{close} (settings: {', '.join([*parameters, 'out'])})"
            )
        value = text.strip("[]").split(",") if "," in text or text.startswith("[") else text
        hint = hints[key]
        if getattr(hint, "__origin__", None) in (tuple, list) and isinstance(value, str):
            value = [value]
        try:
            settings[key] = TypeAdapter(hint).validate_python(value)
        except ValidationError as error:
            message = error.errors()[0]["msg"].removeprefix("Input should be ")
            raise UserError(f"{key}={text}: expected {message}") from error
    return run, settings, out


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
