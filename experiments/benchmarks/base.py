"""Rows, registry and fair timing that all benchmarks share."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        benchmark: Name of the benchmark.
        case: What was done, such as ``"gumbel, batch 64, 1 thread"``.
        metric: What was measured, with its unit, such as ``"searches/s"``.
        ours: Our figure.
        peer: The other's, None where there is none to compare with.
        peer_name: Who that is.
        higher_is_better: Whether a larger figure is the better one.
    """

    benchmark: str
    case: str
    metric: str
    ours: float
    peer: float | None = None
    peer_name: str = ""
    higher_is_better: bool = True

    @property
    def ratio(self) -> float | None:
        """Ratio of ours to the peer's, inverted where lower is better: above 1 ours wins."""
        if self.peer is None or 0.0 in (self.peer, self.ours):
            return None
        return self.ours / self.peer if self.higher_is_better else self.peer / self.ours


Run = Callable[..., Iterator[Row]]
Show = Callable[[Sequence[Row]], Table]

BENCHMARKS: dict[str, Run] = {}
"""All benchmarks by name. Each takes keyword settings with defaults and yields rows as they are measured."""


TABLES: dict[str, Show] = {}
"""The benchmarks that draw a table of their own out of their rows."""


def benchmark(name: str, table: Show | None = None) -> Callable[[Run], Run]:
    """Decorator that makes a benchmark known by a name; its docstring's first line is its help.

    Args:
        name: After `python -m experiments.benchmark`.
        table: Draws the rows for the terminal, where a line for each row would not do.
    """

    def decorate(run: Run) -> Run:
        BENCHMARKS[name] = run
        if table is not None:
            TABLES[name] = table
        return run

    return decorate


def interleaved(
    functions: Mapping[str, Callable[[], object]],
    *,
    seconds: float = 1.0,
    rounds: int = 7,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Times peers in turn, so that whatever else the machine does falls on all of them alike.

    Args:
        functions: What to call, by peer; each must leave things as it found them. Each is called once before,
            unmeasured: what compiles or fills a cache does so then.
        seconds: About how long each peer is measured for in all.
        clock: What tells seconds: the wall's clock, or the processor's for what one thread does alone.
        rounds: Turns; in each a peer is called as often as fits into its share of the seconds, at least once.

    Returns:
        Seconds of one call by peer, one figure a round (a mean over that round's calls).
    """
    calls = {}
    for name, function in functions.items():
        function()
        start = clock()
        function()
        once = max(clock() - start, 1e-9)
        calls[name] = max(1, int(seconds / rounds / once))
    times: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(rounds):
        for name in _turned(list(functions), turn):
            function = functions[name]
            start = clock()
            for _ in range(calls[name]):
                function()
            times[name].append((clock() - start) / calls[name])
    return times


def median(times: Iterable[float]) -> float:
    """The median, which one disturbed round does not move."""
    return statistics.median(times)


def as_json(row: Row) -> dict[str, Any]:
    """A row of the file that ``out=`` names."""
    return {
        "benchmark": row.benchmark,
        "case": row.case,
        "metric": row.metric,
        "ours": row.ours,
        "peer": row.peer,
        "peer_name": row.peer_name,
        "ratio": row.ratio,
    }


def _turned(names: Sequence[str], turn: int) -> list[str]:
    """The names, beginning with another one each turn: nobody is always first."""
    start = turn % len(names)
    return [*names[start:], *names[:start]]
