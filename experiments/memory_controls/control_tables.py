"""Tables and JSON of the controls, over one run or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from experiments.console.tables import DIRECTIONS, number
from experiments.evaluation.fixed_strengths import as_json
from experiments.evaluation.gallery import STAGES
from experiments.memory_controls.examined_run import ROWS, Case
from experiments.memory_controls.intervals import over_draws, over_runs_and_queries
from experiments.reporting.statistics import Estimate

TITLES = {
    "size": "Bank size",
    "captions": "Queries by whether the bank holds their caption",
    "wrong": "Wrong pairs in the bank",
    "source": "Bank and gallery of different sources",
    "popularity": "Popularity-skewed stream (in brackets: 95 % of the orders)",
    "transductive": "TRANSDUCTIVE, NOT A RESULT: all test queries at hand",
    "cost": "Cost (one thread)",
}


def summarize(runs: Sequence[Sequence[Case]], resamples: int, seed: int) -> list[dict[str, Any]]:
    """Gain of each case over runs and queries.

    Args:
        runs: The same cases of each run.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Returns:
        For each case its ``name``, number of ``queries`` by direction, ``spread`` (see `Case`), ``strengths``
        of each run, and by direction and row the mean ``recall@1`` over runs, that of each run
        (``by_run``), and ``gain`` over the same without a memory with its interval.
    """
    found = []
    for cases in zip(*runs, strict=True):
        first, rows = cases[0], dict[str, Any]()
        for direction in DIRECTIONS:
            values = {row: np.stack([one.values[direction][row] for one in cases]) for row in ROWS}
            if not values["KNN"].size:
                continue
            rows[direction] = {}
            for row, (stage, remembers) in ROWS.items():
                own = {"recall@1": float(values[row].mean()), "by_run": values[row].mean(axis=1).tolist()}
                if remembers:
                    without = next(plain for plain, what in ROWS.items() if what == (stage, False))
                    own["gain"] = _interval(values[row] - values[without], first.spread, resamples, seed)
                rows[direction][row] = own
        found.append(
            {
                "name": first.name,
                "spread": first.spread,
                "queries": {key: values["KNN"].shape[-1] for key, values in first.values.items()},
                "strengths": [as_json(one.strengths) for one in cases if one.strengths is not None],
                "rows": rows,
            }
        )
    return found


def _interval(gain: np.ndarray, spread: bool, resamples: int, seed: int) -> dict[str, float | None]:
    draws = np.random.default_rng([seed, *gain.shape])
    own: Estimate = over_draws(gain) if spread else over_runs_and_queries(gain, draws, resamples)
    return {"value": own.value, "low": own.low, "high": own.high}


def control_table(control: str, cases: Sequence[Mapping[str, Any]]) -> Table:
    """R@1 in per cent of every case, and what the memory adds."""
    table = Table(title=f"{TITLES[control]}: R@1 in %")
    for name in ("case", "direction"):
        table.add_column(name)
    for name in ("KNN", "+ memory", "gain, 95 %", "HAF", "+ memory", "gain, 95 %", "recall / hubness"):
        table.add_column(name, justify="right")
    for case in cases:
        for key, rows in case["rows"].items():
            cells = []
            for row, (_, remembers) in ROWS.items():
                cells.append(f"{100 * rows[row]['recall@1']:.1f}")
                if remembers:
                    cells.append(gain_words(rows[row]["gain"]))
            acted = "; ".join(strengths_words(case["strengths"], stage, key) for stage in STAGES)
            table.add_row(case["name"], DIRECTIONS[key], *cells, acted)
        table.add_section()
    return table


def gain_words(gain: Mapping[str, float]) -> str:
    """A gain in points with its interval."""
    return f"{100 * gain['value']:+.1f} [{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}]"


def strengths_words(strengths: Sequence[Mapping[str, Any]], stage: str, direction: str) -> str:
    """The mean strengths of recall and hubness over runs, and in how many of them the memory rests.

    A dash stands where there is no memory.
    """
    if not strengths:
        return "–"
    own = [one[stage][direction] for one in strengths]
    resting = sum(not (one["recall"] or one["hubness"]) for one in own)
    if resting == len(own):
        return "rests"
    recall, hubness = (float(np.mean([one[name] for one in own])) for name in ("recall", "hubness"))
    return f"{recall:.2g} / {hubness:.2g}" + (f" (rests in {resting})" if resting else "")


def cost_table(costs: Mapping[str, float]) -> Table:
    """Table of measured time and space, the medians over runs."""
    table = Table(title=TITLES["cost"])
    table.add_column("what")
    table.add_column("", justify="right")
    for name, value in costs.items():
        table.add_row(name, number(value))
    return table
