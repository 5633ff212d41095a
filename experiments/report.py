"""Command for reports on ablations: ``python -m experiments.report DIR``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from align3d.console.arguments import values_of
from align3d.console.command_frame import run_command
from align3d.console.help_page import Line, Section, page, settings_of
from align3d.console.terminal import say
from align3d.errors import UserError
from experiments.console import tables
from experiments.console.writable import writable_folder
from experiments.reporting import METRICS, compare, find_runs, summarize
from experiments.reporting.verdict import verdict
from experiments.reporting.writers import Report, write
from experiments.reporting.writers import tables as report_tables
from experiments.run_folder.links import check_links


@dataclass(frozen=True)
class Settings:
    """Settings of the command.

    Attributes:
        out: Folder of report.md, report.html and report.json; null: DIR/report.
        metric: Retrieval metrics that count.
    """

    out: Path | None = None
    metric: tuple[str, ...] = tuple(METRICS)


WIDTH = 200  # columns of output that goes to no terminal: wide enough to break no cell


def main(arguments: Sequence[str]) -> int:
    """Write the report and return the exit code."""
    return run_command(arguments, usage, run)


def run(arguments: Sequence[str]) -> None:
    """Read the runs, write the report, and print its tables."""
    root, out, metrics = parse(arguments)
    runs, unfinished = find_runs(root)
    report = Report(str(root), [summarize(group, metrics) for group in compare(runs)], unfinished)
    paths = write(report, writable_folder(f"out={out}", out))
    if report.single is not None:
        say(verdict(report.single.results))
    for table in report_tables(report, tables.columns(WIDTH)):
        tables.show(table, WIDTH)
    for text in [*report.notes, *report.warnings]:
        say(f"note: {text}")
    for one in unfinished:
        say(f"not finished: {one.folder}: {one.reason}")
    say(f"report: {', '.join(map(str, paths))}")


def parse(arguments: Sequence[str]) -> tuple[Path, Path, list[str]]:
    """Parse the folder of the runs, the folder of the report, and the metrics.

    Raises:
        UserError: Not exactly one folder is given, a setting is unknown or empty, or a link leads out of the
            folder where the report would be.
    """
    folders = [text for text in arguments if "=" not in text or Path(text).is_dir()]
    if len(folders) != 1:
        raise UserError(f"{len(folders)} folders given, expected one: python -m experiments.report DIR")
    root = Path(folders[0])
    named = [text for text in arguments if text not in folders]
    settings = Settings(**values_of(Settings, named, "metric=text_to_shape/recall@1"))
    metrics = list(dict.fromkeys(name.strip() for name in settings.metric if name.strip()))
    if not metrics:
        raise UserError(
            f"metric={','.join(settings.metric)}: expected names of metrics, such as {METRICS[0]}"
        )
    if settings.out is None:
        check_links(root / "report", root)
    return root, settings.out or root / "report", metrics


def usage() -> str:
    """Help page of the command."""
    return page(
        "Compares the finished runs below a folder and writes a report.",
        ["python -m experiments.report DIR [key=value ...]"],
        "python -m experiments.report multirun/rewards metric=text_to_shape/recall@1",
        [
            Section("arguments", [Line("DIR", "Folder with runs in it, such as multirun/DATE/TIME.")]),
            Section("settings", settings_of(Settings)),
        ],
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
