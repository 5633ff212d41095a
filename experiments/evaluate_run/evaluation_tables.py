"""Tables and JSON of an evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.measure import Measurement
from rich.table import Table

from align3d.console.rich_terminal import Terminal
from experiments.evaluate_run.task_result import Found
from experiments.reporting.formatting import NOTHING, Grid
from experiments.tasks.measured import Measured

TITLES = {
    "zero_shot": "Zero-shot classification",
    "retrieval": "Cross-modal retrieval",
    "few_shot": "Few-shot classification",
    "open_set": "Open-set recognition",
    "robustness": "Robustness",
    "grounding": "Grounding",
    "distractors": "Retrieval among distractors",
}
Groups = Mapping[str, Sequence[Measured]]
_PLAIN = ("mCE", "RmCE", "CE ")
_RATIO = " ratio"
_ENDLESS = Terminal(width=10_000)  # to measure what would fit into any terminal
WORDS = ("", "measure")
COLUMNS = (*WORDS, "value", "95 % interval", "of")
OF = "of"


def is_plain(name: str) -> bool:
    """Whether a measure is a ratio or its logarithm, which is not shown in percent."""
    return name.startswith(_PLAIN) or name.endswith(_RATIO)


def task_tables(task: str, found: Found, variant: str, width: int) -> Iterator[Table]:
    """Tables of a task's measurements for a terminal, shares in percent, with 95 % intervals.

    Groups with the same measures are rows of one table; one that is wider than the terminal has a row for
    each measure instead.

    Args:
        task: Its name.
        found: What was measured.
        variant: What on, in words.
        width: Columns of the terminal.
    """
    title = f"{TITLES[task]}, {variant} (%)"
    for groups in _alike(found.shown):
        table = _table(_wide(title, groups, "\n{}…{}"), lines=True)
        fits = Measurement.get(_ENDLESS, _ENDLESS.options, table).maximum <= width
        yield table if fits and len(groups) > 1 else _table(_long(title, groups))


def grids_of(title: str, groups: Groups) -> Iterator[Grid]:
    """The same as tables of a page."""
    for some in _alike(groups):
        yield _wide(title, some, " [{}, {}]") if len(some) > 1 else _long(title, some)


def as_json(found: Found) -> dict[str, Any]:
    """Measurements as plain values."""
    return {"measured": _values(found.shown), "details": _values(found.details), **found.facts}


def from_json(groups: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[Measured]]:
    """The measurements of a group in evaluation.json."""
    return {title: [Measured(**own) for own in measured] for title, measured in groups.items()}


def _values(groups: Groups) -> dict[str, list[dict[str, Any]]]:
    return {title: [asdict(own) for own in measured] for title, measured in groups.items()}


def _alike(groups: Groups) -> list[dict[str, Sequence[Measured]]]:
    """The groups, those with the same measures together."""
    found: dict[tuple[str, ...], dict[str, Sequence[Measured]]] = {}
    for title, measured in groups.items():
        found.setdefault(tuple(own.name for own in measured), {})[title] = measured
    return list(found.values())


def _wide(title: str, groups: Groups, interval: str) -> Grid:
    """A row for each group, a column for each measure; its interval stands behind it in a form of its own."""
    names = [own.name for own in next(iter(groups.values()))]
    rows = [
        [name, *(_with_ends(own, interval) for own in measured), _counts(measured)]
        for name, measured in groups.items()
    ]
    return Grid(title, ["", *names, OF], rows, words=WORDS)


def _long(title: str, groups: Groups) -> Grid:
    """A row for each measure, with the group's title at the first of its measures."""
    rows = [
        [
            name if not place else "",
            own.name,
            _number(own, own.value),
            _ends(own, "{} … {}") or NOTHING,
            _counts([own]),
        ]
        for name, measured in groups.items()
        for place, own in enumerate(measured)
    ]
    return Grid(title, list(COLUMNS), rows, words=WORDS)


def _table(grid: Grid, *, lines: bool = False) -> Table:
    table = Table(title=grid.title, show_lines=lines)
    for name in grid.columns:
        table.add_column(name, no_wrap=True, justify="left" if name in grid.words else "right")
    for place, row in enumerate(grid.rows):
        if row[0] and place:
            table.add_section()
        table.add_row(*row)
    return table


def _number(own: Measured, value: float) -> str:
    text = f"{value:.3f}" if is_plain(own.name) else f"{100 * value:.1f}"
    return text.replace("-", "−")


def _ends(own: Measured, interval: str) -> str:
    if own.low is None or own.high is None:
        return ""
    return interval.format(_number(own, own.low), _number(own, own.high))


def _with_ends(own: Measured, interval: str) -> str:
    return _number(own, own.value) + _ends(own, interval)


def _counts(measured: Sequence[Measured]) -> str:
    """How many shapes or queries are behind measures: one number, or the least and the most."""
    counts = sorted({own.count for own in measured if own.count})
    return "–".join(f"{count:,}" for count in dict.fromkeys([*counts[:1], *counts[-1:]])) or NOTHING
