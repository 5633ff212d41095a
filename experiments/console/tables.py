"""Tables and numbers on the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rich.table import Table

from align3d.console.rich_terminal import Terminal

DIRECTIONS = {"text_to_shape": "text → shape", "shape_to_text": "shape → text"}
MEASURES = {"recall@1": "R@1", "recall@5": "R@5", "recall@10": "R@10", "mrr": "MRR"}


def retrieval_table(rows: Mapping[str, Mapping[str, float]], title: str = "") -> Table:
    """Retrieval results.

    Args:
        rows: Name of the ranking → metrics named ``text_to_shape/recall@1`` and so on, in [0, 1].
        title: Stands above.
    """
    table = Table(title=title or None)
    for name in ("ranking", "direction"):
        table.add_column(name, no_wrap=True)
    for measure in MEASURES.values():
        table.add_column(measure, justify="right")
    for direction, words in DIRECTIONS.items():
        for name, metrics in rows.items():
            table.add_row(name, words, *(_percent(metrics, f"{direction}/{m}") for m in MEASURES))
        table.add_section()
    return table


def agent_line(agent: Mapping[str, Any], margin: float) -> str | None:
    """One line on whether the agent acts and what that brings, as equal rows of a table do not say.

    Args:
        agent: The part ``agent`` of results.json.
        margin: Standard errors that its best validation had to gain.

    Returns:
        The line; None without an agent.
    """
    if agent["name"] == "none":
        return None
    validation = agent.get("validation")
    if not agent["acts"] and validation:
        gain = _gain(validation["return"], validation["return_error"])
        number = {1.0: "one standard error", 2.0: "two standard errors"}.get(
            float(margin), f"{margin:g} standard errors"
        )
        return f"the agent rests: {gain} in validation, {number} needed"
    test = agent["test"]
    gain = _gain(test["return"], agent.get("test_return_error"))
    return f"the agent acts on {test['acted']:.0%} of the queries: {gain} (mean return of a test query)"


def memory_line(memory: Mapping[str, Any] | None) -> str | None:
    """One line on where a memory with strengths that are the same for all queries rests.

    Args:
        memory: The part ``memory`` of results.json.

    Returns:
        The line; None where it rests nowhere, or there is no memory.
    """
    stages = {"search": "exact KNN", "rerank": "HAF"}
    resting = [
        f"{stages[stage]} {DIRECTIONS[direction]}"
        for stage, chosen in (memory or {}).get("fixed", {}).items()
        for direction, strengths in chosen.items()
        if not (strengths["recall"] or strengths["hubness"])
    ]
    if not memory or not resting:
        return None
    return (
        f"the memory of {memory['pairs']} pairs rests in {', '.join(resting)}: no strengths surely "
        "gain on the reward split"
    )


def _gain(mean: float, error: float | None) -> str:
    return f"{mean:+.4f}".replace("-", "−") + ("" if error is None else f" ± {error:.4f}")


def columns(width: int = 100) -> int:
    """The columns of the terminal, or ``width`` where there is none to fit into."""
    console = Terminal()
    return console.width if console.is_terminal else width


def show(table: Table, width: int = 100) -> None:
    """Prints a table; up to ``width`` characters wide where there is no terminal to fit into."""
    Terminal(width=columns(width)).print(table)


def number(value: float) -> str:
    """A number with three digits or all those before the point, never as a power of ten."""
    if not value or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def ratio(value: float) -> str:
    """A ratio with two digits after the point, as a fraction where these would say nothing."""
    return f"1/{number(1 / value)}" if value < 0.02 else f"{value:,.2f}"


def _percent(metrics: Mapping[str, float], name: str) -> str:
    return f"{100 * metrics[name]:.1f}" if name in metrics else "–"
