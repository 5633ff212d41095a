"""Benchmark of feedback: what each term of the descent gives where few shapes are asked for often."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import numpy as np

from align3d.console.progress import Tracker
from align3d.errors import settings_of
from experiments.benchmarks.base import Row, benchmark
from retrieval import ErsIndex
from retrieval.benchmark.synthetic import BLOCK, MIXTURES, Queries, stream_of, vectors_of

WEIGHTS = ((0.1, 0.0), (0.3, 0.0), (1.0, 0.0), (0.0, 0.03), (0.3, 0.03))
"""``w`` and ``c`` of `retrieval.ers.feedback`; both 0 is what they are compared with."""
K = 10


@benchmark("feedback")
def feedback(
    size: int = 100_000,
    width: int = 256,
    mixture: Literal["easier", "harder"] = "harder",
    beams: tuple[int, ...] = (2, 4, 8, 16),
    targets: int = 2_000,
    lessons: int = 10_000,
    queries: int = 5_000,
    seed: int = 0,
) -> Iterator[Row]:
    """Gain by feedback: targets found among ten on a later stream, by the terms of its score."""
    recipe = MIXTURES[mixture]
    with settings_of("retrieval"):
        recipe = replace(recipe, width=width, rank=min(recipe.rank, width))
        taught = stream_of(recipe, size, targets=targets, length=lessons, part=1, seed=seed)
        asked = stream_of(recipe, size, targets=targets, length=queries, part=2, seed=seed)
        vectors = np.empty((size, width), np.float32)
        for number, block in enumerate(vectors_of(recipe, size, seed)):
            vectors[number * BLOCK : number * BLOCK + len(block)] = block
        built = ErsIndex()
        built.build(vectors, np.arange(size))
    with tempfile.TemporaryDirectory() as folder:
        built.save(folder)
        for beam in beams:
            place = f"{mixture} {size:,} × {width}, beam {beam}"
            plain = _share(built, asked, beam)
            for weight, exploration in WEIGHTS:
                index = ErsIndex.load(folder)
                index.beam, index.success_weight, index.exploration = beam, weight, exploration
                case = f"{place}, w={weight:g}, c={exploration:g}"
                _teach(index, taught, case)
                found = _share(index, asked, beam)
                yield Row("feedback", case, f"% of targets among {K}", found, plain, "w=0, c=0")


def _teach(index: ErsIndex, stream: Queries, name: str) -> None:
    index.learn()
    with Tracker(f"teaching, {name}", len(stream.targets), "queries") as tracker:
        for query, target in zip(stream.vectors, stream.targets.tolist(), strict=True):
            index.feedback(query, target)
            tracker.advance(1)
    index.freeze()


def _share(index: ErsIndex, asked: Queries, beam: int) -> float:
    found, _ = index.search(asked.vectors, K, beam=beam)
    return 100 * float((found == asked.targets[:, None]).any(1).mean())
