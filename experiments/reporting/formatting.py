"""Cells of a report's tables: formatting of figures, the same for every output format.

A share is in per cent with one decimal, a difference of shares in points with two, a return or a part of it
with four, a count whole with thousands separated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.reporting.statistics import Estimate
from experiments.run_folder.names import BASELINE, FINAL, FIXED, MEMORY, RERANKED

NOTHING = "–"


#: Headings of the rankings.
RANKINGS = {
    BASELINE: "exact KNN",
    MEMORY: "KNN + memory",
    RERANKED: "HAF, not calibrated",
    FIXED: "HAF + memory, fixed",
    FINAL: "HAF, calibrated",
}
#: Columns that hold words.
WORDS = ("arm", "against", "in the test")


@dataclass(frozen=True)
class Grid:
    """A table of texts.

    Attributes:
        title: Text above the table.
        columns: Headings.
        rows: Texts of the cells.
        note: Text below the table.
        words: Headings of the columns that hold words, the others hold figures.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    note: str = ""
    words: tuple[str, ...] = WORDS


def percent(figure: Estimate | None) -> str:
    """Format a share in per cent with its interval: ``77.5 [76.9, 78.0]``."""
    return with_interval(figure, "{:.1f}")


def points(figure: Estimate | None) -> str:
    """Format a difference of shares in points, with its sign, its interval, and whether that includes 0."""
    return _marked(figure, with_interval(figure, "{:+.2f}"))


def difference(figure: Estimate | None) -> str:
    """Format a difference in its own unit, such as that of the reward, likewise."""
    return _marked(figure, with_interval(figure, "{:+.4f}", 1.0))


def _marked(figure: Estimate | None, text: str) -> str:
    constant = figure is not None and figure.low == figure.high == 0.0
    if figure is not None and figure.certain and figure.includes(0.0) and not constant:
        return f"{text} (includes 0)"
    return text


def probability(figure: Estimate) -> str:
    """Format a probability with its interval."""
    return _interval(figure, "{:.2f}", 1.0)


def number(value: float | None, form: str = "{:,.0f}") -> str:
    """Format a number, or a dash if there is none."""
    return NOTHING if value is None else form.format(value)


def duration(seconds: float | None) -> str:
    """Format a wall time: ``48 s``, ``12.5 min``, ``2.1 h``."""
    if seconds is None:
        return NOTHING
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def with_interval(figure: Estimate | None, form: str, scale: float = 100.0) -> str:
    """Format a scaled figure with its interval, or a dash if there is none."""
    return NOTHING if figure is None else _interval(figure, form, scale)


def _interval(figure: Estimate, form: str, scale: float) -> str:
    def shown(value: float) -> str:
        text = form.format(scale * value)
        return text.lstrip("+-") if float(text) == 0 else text  # zero has no sign

    if figure.low is None or figure.high is None:
        return shown(figure.value)
    return f"{shown(figure.value)} [{shown(figure.low)}, {shown(figure.high)}]"


def shown(value: Any) -> str:
    """The value of a setting, as it is typed."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(shown, value))}]"
    if value is None or (isinstance(value, Mapping) and not value):
        return "null"
    return f"{value:g}" if isinstance(value, float) else str(value)
