"""Benchmark of the compiled backend of `ErsIndex` against the plain one, on what a user waits for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np

from align3d.errors import settings_of
from experiments.benchmarks.base import Row, benchmark, interleaved, median
from experiments.index_evaluation.measure import pinned
from retrieval import ErsIndex, SemanticHierarchy
from retrieval.benchmark.synthetic import MIXTURES, queries_of, vectors_of
from retrieval.ers.backend import Chosen
from retrieval.ers.beam_search import descend
from retrieval.ers.metadata import Where
from retrieval.ers.vectors import VectorStore

SINGLES = 50
"""Queries that are also asked one by one."""
BACKENDS: tuple[Chosen, ...] = ("numba", "faiss")
FILTERS: dict[str, Where] = {
    "search": {},
    "filter that lets through a fifth": {"fifth": 0},
    "filter that lets through 100": {"first": 1},
}


@benchmark("index_backend")
def index_backend(
    size: int = 20_000,
    dim: int = 256,
    mixture: Literal["easier", "harder"] = "harder",
    queries: int = 500,
    seconds: float = 2.0,
    rounds: int = 9,
    seed: int = 0,
) -> Iterator[Row]:
    """Gain of ERS's compiled code over NumPy and faiss: batches, single queries, filters, feedback."""
    with settings_of("index_backend"):
        recipe = replace(MIXTURES[mixture], width=dim, rank=min(MIXTURES[mixture].rank, dim))
        asked = queries_of(recipe, size, queries, seed).vectors
        vectors = np.concatenate(list(vectors_of(recipe, size, seed)))
    with pinned(1):
        built: dict[str, ErsIndex] = {name: _built(name, vectors) for name in BACKENDS}
        runs: dict[str, dict[str, Callable[[], object]]] = {
            case: {name: partial(run, index) for name, index in built.items()}
            for case, run in _cases(asked).items()
        }
        runs |= _parts(built["numba"].hierarchy, vectors, asked)
        for case, run in runs.items():
            times = interleaved(run, seconds=seconds, rounds=rounds, clock=time.process_time)
            ours, plain = (1e6 * median(times[name]) / _count(case, queries) for name in BACKENDS)
            yield Row(
                "index_backend", f"{case}, {size:,} × {dim}", "CPU us/query", ours, plain, "faiss", False
            )


def _built(backend: Chosen, vectors: np.ndarray) -> ErsIndex:
    index = ErsIndex(backend=backend)
    rows = np.arange(len(vectors))
    index.build(vectors, rows, {"fifth": rows % 5, "first": (rows < 100).astype(np.int64)})
    index.learn()
    return index


def _cases(asked: np.ndarray) -> dict[str, Callable[[ErsIndex], object]]:
    """Calls that a user waits for."""

    def all_at_once(index: ErsIndex, where: Where | None = None) -> None:
        index.search(asked, 10, where=where)

    def one_by_one(index: ErsIndex, where: Where | None = None) -> None:
        for row in range(SINGLES):
            index.search(asked[row : row + 1], 10, where=where)

    def feedback(index: ErsIndex) -> None:
        for row in range(SINGLES):
            index.feedback(asked[row], row)

    cases: dict[str, Callable[[ErsIndex], object]] = {}
    for name, where in FILTERS.items():
        cases[f"{name}, batch"] = partial(all_at_once, where=where)
        cases[f"{name}, single"] = partial(one_by_one, where=where)
    return cases | {"feedback, single": feedback}


def _parts(
    tree: SemanticHierarchy, vectors: np.ndarray, asked: np.ndarray
) -> dict[str, dict[str, Callable[[], object]]]:
    """The parts of a filtered search that have a compiled twin."""
    priors = [np.zeros(len(nodes), np.float32) for nodes in tree.centroids]
    store, ids = VectorStore(vectors), np.arange(len(vectors))
    rows = np.random.default_rng(0).integers(0, len(vectors), (len(asked), 100))

    def route(count: int, step: int, backend: Chosen) -> None:
        for row in range(0, count, step):
            descend(tree, priors, asked[row : row + step], 16, backend)

    def refine(count: int, step: int, backend: Chosen) -> None:
        for row in range(0, count, step):
            store.refine(asked[row : row + step], rows[row : row + step], ids, 10, backend)

    return {
        f"{name} alone, {size}": {backend: partial(run, *counts, backend) for backend in BACKENDS}
        for name, run in (("routing", route), ("refining 100", refine))
        for size, counts in (("batch", (len(asked), len(asked))), ("single", (SINGLES, 1)))
    }


def _count(case: str, queries: int) -> int:
    return SINGLES if case.endswith("single") else queries
