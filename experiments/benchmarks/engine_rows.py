"""Rows of measured engines: rates at equal recall, ours beside the best rival's, and costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from align3d.console.terminal import say
from experiments.benchmarks.base import Row
from experiments.index_evaluation.engine_settings import engine_name
from experiments.index_evaluation.measure import EXACT
from retrieval.benchmark import curves
from retrieval.benchmark.curves import GOALS, Cost, Point

OURS = "ers"
RATES: Mapping[str, Callable[[Point], float]] = {"batched": curves.batched, "single": curves.single}


def speed_rows(points: Mapping[str, Sequence[Point]], place: str, k: int) -> Iterator[Row]:
    """Each engine's rate at each goal beside that of exact search, and ours beside the best rival's."""
    for goal in GOALS:
        for kind, rate in RATES.items():
            rates = {name: curves.rate_at(line, goal, rate) for name, line in points.items()}
            reached = {name: value for name, value in rates.items() if value is not None}
            metric = f"queries/s at recall@{k} ≥ {goal}, {kind}"
            for name in points:
                if name not in reached:
                    say(f"{name}: {place}: does not reach recall@{k} {goal}", error=True)
                elif name != EXACT or len(points) == 1:
                    peer = reached.get(EXACT) if name != EXACT else None
                    named = EXACT if peer is not None else ""
                    yield Row("retrieval", f"{name}, {place}", metric, reached[name], peer, named)
            ours = [value for name, value in reached.items() if engine_name(name) == OURS]
            rivals = {name: rate for name, rate in reached.items() if engine_name(name) not in (OURS, EXACT)}
            if ours and rivals:
                best = max(rivals, key=lambda name: rivals[name])
                case = f"{OURS} against the best rival, {place}"
                yield Row("retrieval", case, metric, max(ours), rivals[best], best)


def cost_rows(costs: Mapping[str, Cost], place: str, raw: int) -> Iterator[Row]:
    """Each engine's building beside HNSW's, and its memory beside the raw vectors'."""
    graph = costs.get("hnsw")
    for name, cost in costs.items():
        if name == EXACT:
            continue
        case = f"{name}, {place}"
        other = None if graph is None or name == "hnsw" else graph.build_cpu_seconds
        named = "" if other is None else "hnsw"
        yield Row("retrieval", case, "build CPU-s", cost.build_cpu_seconds, other, named, False)
        if cost.resident_bytes is not None:
            memory = cost.resident_bytes / 1e6
            yield Row("retrieval", case, "resident MB", memory, raw / 1e6, "raw", False)
        if cost.disk_bytes:
            yield Row("retrieval", case, "disk MB", cost.disk_bytes / 1e6, raw / 1e6, "raw", False)
