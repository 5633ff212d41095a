"""Table of the search benchmark: one line per case, our variants in columns, and whether the goal is met."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from rich.table import Table

from experiments.benchmarks.base import Row
from experiments.console.tables import number

PEER = "mctx"


@dataclass(frozen=True)
class SearchRow(Row):
    """A row that knows what it is about.

    Attributes:
        about: The case, without what is ours: the policy and two more, such as ``batch 64`` and ``1 thread``.
        kind: What is ours, such as ``PyTorch dynamics``.
        goal: Least ratio that is wanted; None for figures that only explain.
    """

    about: tuple[str, ...] = ()
    kind: str = ""
    goal: float | None = None

    @classmethod
    def of(
        cls,
        about: tuple[str, ...],
        kind: str,
        metric: str,
        ours: float,
        peer: float | None,
        *,
        goal: float | None = None,
        higher_is_better: bool = True,
    ) -> SearchRow:
        """The row, its case put into words."""
        case = ", ".join([*about, *([kind] if kind else [])])
        name = "" if peer is None else PEER
        return cls("search", case, metric, ours, peer, name, higher_is_better, about, kind, goal)


def search_table(rows: Sequence[Row]) -> Table:
    """A line for each case and figure; ours with its ratio to the peer, above 1 where ours is better."""
    found = cast("Sequence[SearchRow]", rows)
    kinds = list(dict.fromkeys(row.kind for row in found if row.kind))
    table = Table(title=f"search: ours (times better than {PEER}); ✓ meets the goal, ✗ does not")
    for heading in ("policy", "case", ""):
        table.add_column(heading, no_wrap=True)
    table.add_column("figure")
    for heading in (*kinds, PEER, "goal"):
        table.add_column(heading, justify="right", no_wrap=True)
    groups: dict[tuple[tuple[str, ...], str], list[SearchRow]] = {}
    for row in found:
        groups.setdefault((row.about, row.metric), []).append(row)
    last = None
    for (about, metric), group in groups.items():
        if last is not None and about[0] != last:
            table.add_section()
        last = about[0]
        by_kind = {row.kind: row for row in group}
        shown = [figure(by_kind.get(kind)) for kind in kinds] if group[0].kind else [figure(group[0]), ""]
        peer, goal = group[0].peer, group[0].goal
        table.add_row(
            *about,
            metric,
            *shown[: len(kinds)],
            "–" if peer is None else number(peer),
            "" if goal is None else f"{goal:g}×",
        )
    return table


def figure(row: SearchRow | None) -> str:
    """Our figure, the ratio, and whether the goal is met."""
    if row is None:
        return "–"
    if row.ratio is None:
        return number(row.ours)
    mark = "" if row.goal is None else " ✓" if row.ratio >= row.goal else " ✗"
    return f"{number(row.ours)} ({row.ratio:.2f}×){mark}"
