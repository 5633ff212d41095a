"""Output formats of a report: Markdown, JSON, one HTML page, tables for the terminal."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.measure import Measurement
from rich.table import Table

from align3d.console.rich_terminal import Terminal
from durable.whole_files import write_text
from experiments.reporting import figures, html_page, text_tables
from experiments.reporting.arm_summary import Summary
from experiments.reporting.formatting import Grid
from experiments.reporting.load_runs import CURVES, Run, Unfinished
from experiments.reporting.markdown_text import code, escaped
from experiments.reporting.run_page import run_grids, run_page, run_title
from experiments.reporting.verdict import verdict

SCHEMA = 1
_ENDLESS = Terminal(width=10_000)  # to measure what would fit into any terminal


@dataclass(frozen=True)
class Report:
    """Content of a report.

    Attributes:
        source: Folder that was read.
        summaries: Figures of each set of runs that can be compared.
        unfinished: Folders without results.
    """

    source: str
    summaries: Sequence[Summary]
    unfinished: Sequence[Unfinished]

    @property
    def single(self) -> Run | None:
        """Return the run of a report on nothing else, which is shown by itself."""
        runs = [run for summary in self.summaries for arm in summary.arms for run in arm.arm.runs]
        return runs[0] if len(runs) == 1 and not self.unfinished else None

    @property
    def notes(self) -> list[str]:
        """Return what a reader should know beforehand, of all runs."""
        if self.single is not None:
            return list(self.single.notes)
        return [note for summary in self.summaries for note in summary.comparison.notes]

    @property
    def warnings(self) -> list[str]:
        """Return warnings that concern the report as a whole."""
        if len(self.summaries) < 2:
            return []
        return [
            f"These runs were tested in {len(self.summaries)} different ways (data, number of test shapes or "
            "of candidates): each has tables of its own, and figures must not be compared between them."
        ]


def write(report: Report, out: Path) -> list[Path]:
    """Write report.md, report.html and report.json into a folder, and return their paths."""
    texts = {"report.md": markdown(report), "report.html": page(report), "report.json": as_json(report)}
    for name, text in texts.items():
        write_text(out / name, text)
    return [out / name for name in texts]


def markdown(report: Report) -> str:
    """Format the report as Markdown, without plots; of a single run, what that one has."""
    if report.single is not None:
        return _single_markdown(report.single)
    lines = ["# Report", "", f"Runs in {code(report.source)}.", ""]
    lines += [f"**{escaped(warning)}**\n" for warning in report.warnings]
    for summary in report.summaries:
        lines += [f"## {escaped(summary.comparison.title)}", "", escaped(_what(summary)), ""]
        lines += (
            [*(f"- {escaped(note)}" for note in summary.comparison.notes), ""]
            if summary.comparison.notes
            else []
        )
        for grid in [*text_tables.main_grids(summary), *text_tables.other_grids(summary)]:
            lines += [f"### {escaped(grid.title)}", "", *_markdown_table(grid), ""]
            lines += [escaped(grid.note), ""] if grid.note else []
    if report.unfinished:
        lines += [
            "## Not finished",
            "",
            *(f"- {code(str(run.folder))}: {escaped(run.reason)}" for run in report.unfinished),
            "",
        ]
    return "\n".join([*lines, "## How to read this", "", *(f"- {text}" for text in text_tables.READING), ""])


def _single_markdown(run: Run) -> str:
    lines = [f"# {escaped(run_title(run.results))}", "", escaped(verdict(run.results)), ""]
    lines += [*(f"- {escaped(note)}" for note in run.notes), ""] if run.notes else []
    for grid in run_grids(run.folder, run.results):
        lines += [f"## {escaped(grid.title)}", "", *_markdown_table(grid), ""]
    return "\n".join(lines)


def as_json(report: Report) -> str:
    """Format all figures as JSON, for programs."""
    comparisons = [
        {
            "dataset": summary.comparison.dataset,
            "hash": summary.comparison.hash,
            "test_shapes": summary.comparison.shapes,
            "candidates": summary.comparison.candidates,
            "differs": summary.comparison.keys,
            "notes": summary.comparison.notes,
            "metrics": summary.metrics,
            "arms": [_arm(arm) for arm in summary.arms],
        }
        for summary in report.summaries
    ]
    whole = {
        "schema": SCHEMA,
        "source": report.source,
        "comparisons": comparisons,
        "unfinished": [{"folder": str(run.folder), "reason": run.reason} for run in report.unfinished],
    }
    return json.dumps(whole, indent=1, default=str) + "\n"


def page(report: Report) -> str:
    """Format the report as one HTML page that needs no other file; of a single run, as that run's own."""
    if (run := report.single) is not None:
        return run_page(run.folder, run.results, run.notes)
    body = [f"<h1>Report</h1><p>Runs in <code>{html_page.escaped(report.source)}</code>.</p>"]
    body += [f'<p class="warning">{html_page.escaped(warning)}</p>' for warning in report.warnings]
    for summary in report.summaries:
        body += [
            f"<h2>{html_page.escaped(summary.comparison.title)}</h2><p>{html_page.escaped(_what(summary))}</p>"
        ]
        body += [html_page.items(summary.comparison.notes, "notes")]
        body += [html_page.table(grid) for grid in text_tables.main_grids(summary)]
        body += [f"<figure>{picture}</figure>" for picture in _pictures(summary)]
        body += [html_page.table(grid) for grid in text_tables.other_grids(summary)]
    if report.unfinished:
        items = [f"{run.folder}: {run.reason}" for run in report.unfinished]
        body += ["<h2>Not finished</h2>", html_page.items(items, "warning")]
    body += ["<h2>How to read this</h2>", html_page.items(text_tables.READING, "reading")]
    return html_page.document(f"Report: {report.source}", body)


def tables(report: Report, width: int) -> Iterator[Table]:
    """Yield the main tables for a terminal; in a table wider than ``width``, intervals go below figures."""
    if (run := report.single) is not None:
        yield from (_table(grid, grid.title, " ") for grid in run_grids(run.folder, run.results))
        return
    for summary in report.summaries:
        for grid in text_tables.main_grids(summary):
            title = f"{summary.comparison.title}: {grid.title}"
            table = _table(grid, title, " ")
            wide = Measurement.get(_ENDLESS, _ENDLESS.options, table).maximum > width
            yield _table(grid, title, "\n") if wide else table


def _table(grid: Grid, title: str, before_interval: str) -> Table:
    table = Table(title=title, caption=grid.note or None, caption_justify="left")
    for place, column in enumerate(grid.columns):
        table.add_column(column, justify=html_page.side(grid, place), overflow="fold")  # cuts nothing off
    for row in grid.rows:
        table.add_row(*(cell.replace(" [", f"{before_interval}[") for cell in row))
    return table


def _what(summary: Summary) -> str:
    keys = ", ".join(summary.comparison.keys)
    count = len(summary.arms)
    if count == 1:
        return f"One arm, {summary.arms[0].arm.name}: nothing differs but the seed."
    return f"{count} arms, which differ in {keys}."


def _arm(arm: Any) -> dict[str, Any]:
    """Convert an arm's figures into plain values."""
    plain = {
        field.name: _plain(getattr(arm, field.name))
        for field in dataclasses.fields(arm)
        if field.name != "arm"
    }
    runs = [{"folder": str(run.folder), "seed": run.seed} for run in arm.arm.runs]
    return {"name": arm.arm.name, "settings": dict(arm.arm.values), "runs": runs, **plain}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: _plain(child) for key, child in value.items()}
    return [_plain(child) for child in value] if isinstance(value, list) else value


def _pictures(summary: Summary) -> Iterator[str]:
    for key in summary.keys:
        yield figures.intervals(summary, key)
    for name in CURVES:
        picture = figures.curve(summary, name)
        if picture is not None:
            yield picture


def _markdown_table(grid: Grid) -> list[str]:
    rule = ["---" if html_page.side(grid, place) == "left" else "---:" for place in range(len(grid.columns))]
    rows = [grid.columns, rule, *grid.rows]
    return ["| " + " | ".join(escaped(cell) for cell in row) + " |" for row in rows]
