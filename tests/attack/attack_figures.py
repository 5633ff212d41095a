"""Figures of attacks: how many of each kind, what came of them, and all that was wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

COLUMNS = ("same", "anew", "refused", "WRONG")


@dataclass
class Figures:
    """Outcomes by kind of attack.

    Attributes:
        outcomes: Number of attacks by kind and verdict.
        wrong: What was wrong: kind, how to do it again, reason, and what was told.
    """

    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    wrong: list[dict[str, str]] = field(default_factory=list)

    def count(self, kind: str, verdict: str, many: int = 1) -> None:
        """Counts attacks of one kind with one verdict."""
        self.outcomes.setdefault(kind, Counter())[verdict] += many

    def fault(self, kind: str, again: str, reason: str, told: str = "") -> None:
        """Writes down what was wrong; `count` counts it."""
        self.wrong.append({"kind": kind, "again": again, "reason": reason, "told": told})

    @property
    def faults(self) -> int:
        """Number of attacks that were wrong."""
        return sum(counted["WRONG"] for counted in self.outcomes.values())

    def table(self) -> Table:
        """The figures, a row for each kind."""
        table = Table("kind", "attacks", *COLUMNS, title="attacks")
        for column in table.columns[1:]:
            column.justify = "right"
        total = Counter[str]()
        for kind, counted in self.outcomes.items():
            total += counted
            table.add_row(kind, *_cells(counted))
        table.add_section()
        table.add_row("all", *_cells(total))
        return table

    def as_json(self) -> dict[str, Any]:
        """The figures as plain values."""
        rows = [
            {"kind": kind, "attacks": counted.total(), **{name: counted[name] for name in COLUMNS}}
            for kind, counted in self.outcomes.items()
        ]
        return {"figures": rows, "wrong": self.wrong}


def _cells(counted: Counter[str]) -> list[str]:
    return [f"{counted.total():,}", *(f"{counted[name]:,}" for name in COLUMNS)]
