"""Benchmark of nearest neighbors: every installed engine at equal recall, with equal threads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from experiments.benchmarks.base import Row, benchmark
from experiments.benchmarks.engine_rows import cost_rows, speed_rows
from experiments.index_evaluation.measure import engines_of, measure, pinned
from experiments.index_evaluation.options import parse
from experiments.index_evaluation.problems import problem_of_mixture
from retrieval.engines import ENGINES
from retrieval.ers.backend import Backend


@benchmark("retrieval")
def retrieval(
    size: int = 100_000,
    dim: int = 256,
    mixture: Literal["easier", "harder"] = "easier",
    engines: tuple[str, ...] = tuple(ENGINES),
    imports: tuple[str, ...] = (),
    backend: Backend = "auto",
    threads: int = 1,
    queries: int = 1_000,
    singles: int = 200,
    k: int = 10,
    rounds: int = 5,
    seed: int = 0,
) -> Iterator[Row]:
    """Nearest neighbors at recall@k of 0.95 and 0.99: ours, faiss, ScaNN, SymphonyQG, RaBitQ, SVS, others.

    It measures what ``python -m experiments.retrieval mixture=…`` does, and takes its settings.
    """
    given = {name: value for name, value in locals().items() if value != ()}
    settings = parse([f"{name}={_typed(value)}" for name, value in given.items()])
    engines_of(settings, tell=True)  # before anything slow
    with pinned(threads):
        problem = problem_of_mixture(settings, size)
        measured = measure(problem, settings)
    place = f"{problem.name}, {threads} thread{'s' if threads > 1 else ''}"
    yield from speed_rows({name: found.points for name, found in measured.items()}, place, k)
    yield from cost_rows(
        {name: found.cost for name, found in measured.items()}, place, problem.vectors.nbytes
    )


def _typed(value: object) -> str:
    """A setting as it is typed."""
    return ",".join(value) if isinstance(value, tuple) else str(value)
