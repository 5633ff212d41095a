"""Command for reports on ablations: ``python -m experiments.report DIR [out=…] [metric=…]``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from align3d.errors import UserError, did_you_mean
from experiments.console import tables
from experiments.console.writable import writable_folder
from experiments.reporting import METRICS, compare, find_runs, summarize
from experiments.reporting.writers import Report, write
from experiments.reporting.writers import tables as report_tables

USAGE = f"""python -m experiments.report DIR [out=DIR/report] [metric=NAME,NAME]

  DIR      a folder with run folders in it, such as multirun/DATE/TIME
  out      the folder of report.md, report.html and report.json; default: DIR/report
  metric   the retrieval metrics that count; default: {",".join(METRICS)}"""
SETTINGS = ("out", "metric")
WIDTH = 200  # columns of output that goes to no terminal: wide enough to break no cell


def main(arguments: Sequence[str]) -> int:
    """Read the runs, write the report, print its tables, and return the exit code."""
    if not arguments or any(text in ("-h", "--help", "help") for text in arguments):
        print(USAGE)
        return 0
    try:
        root, out, metrics = parse(arguments)
        runs, unfinished = find_runs(root)
        report = Report(str(root), [summarize(group, metrics) for group in compare(runs)], unfinished)
        paths = write(report, writable_folder(f"out={out}", out))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    for table in report_tables(report, tables.columns(WIDTH)):
        tables.show(table, WIDTH)
    for summary in report.summaries:
        for note in summary.comparison.notes:
            print(f"note: {note}")
    for text in report.warnings:
        print(f"note: {text}")
    for run in unfinished:
        print(f"not finished: {run.folder}: {run.reason}")
    print(f"report: {', '.join(map(str, paths))}")
    return 0


def parse(arguments: Sequence[str]) -> tuple[Path, Path, list[str]]:
    """Parse the folder of the runs, the folder of the report, and the metrics.

    Raises:
        UserError: Not exactly one folder is given, or a setting is unknown or empty.
    """
    folders = [text for text in arguments if "=" not in text or Path(text).is_dir()]
    if len(folders) != 1:
        raise UserError(f"{len(folders)} folders given, expected one: python -m experiments.report DIR")
    root = Path(folders[0])
    settings = {}
    for text in arguments:
        key, _, value = text.partition("=")
        if text in folders:
            continue
        if key not in SETTINGS:
            raise UserError(f"{text}: no such setting{did_you_mean(key, SETTINGS)} (settings: out, metric)")
        if not value:
            raise UserError(f"{text}: expected a value behind the equals sign")
        settings[key] = value
    named = settings.get("metric", ",".join(METRICS)).strip("[]").split(",")
    metrics = list(dict.fromkeys(name.strip() for name in named if name.strip()))
    if not metrics:
        raise UserError(f"metric={settings['metric']}: expected names of metrics, such as {METRICS[0]}")
    out = Path(settings["out"]) if "out" in settings else root / "report"
    return root, out, metrics


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
