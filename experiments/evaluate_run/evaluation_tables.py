"""Tables and JSON of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from experiments.evaluate_run.run_tasks import Found
from experiments.tasks.measured import Measured

TITLES = {
    "zero_shot": "Zero-shot classification",
    "retrieval": "Cross-modal retrieval",
    "few_shot": "Few-shot classification",
    "open_set": "Open-set recognition",
    "robustness": "Robustness",
    "distractors": "Retrieval among distractors",
}


def task_table(task: str, found: Found, variant: str) -> Table:
    """Table of a task's measurements, in percent, with 95 % intervals."""
    table = Table(title=f"{TITLES[task]}, {variant} (%)")
    for name in ("", "measure"):
        table.add_column(name, no_wrap=True)
    for name in ("value", "95 % interval", "of"):
        table.add_column(name, justify="right")
    for title, measured in found.shown.items():
        for place, own in enumerate(measured):
            heading = "" if place else title
            table.add_row(heading, own.name, _percent(own.value), _ends(own), f"{own.count:,}")
        table.add_section()
    return table


def as_json(found: Found) -> dict[str, Any]:
    """Measurements as plain values."""
    return {"measured": _plain(found.shown), "details": _plain(found.details), **found.facts}


def _plain(groups: Mapping[str, Sequence[Measured]]) -> dict[str, list[dict[str, Any]]]:
    return {title: [asdict(own) for own in measured] for title, measured in groups.items()}


def _percent(value: float) -> str:
    return f"{100 * value:.1f}".replace("-", "−")


def _ends(own: Measured) -> str:
    if own.low is None or own.high is None:
        return "–"
    return f"{_percent(own.low)} … {_percent(own.high)}"
