"""What is searched for: a run's shapes and captions in both directions, or the vectors of a mixture."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from experiments.errors import settings_of
from experiments.progress import Tracker
from experiments.retrieving.light import light_head
from experiments.retrieving.measure import Problem
from experiments.retrieving.rerankers import Direction, Rerankers
from experiments.retrieving.settings import Settings
from experiments.retrieving.trained import Trained, shapes_of, texts_of
from models import PointHierarchy, TextEmbedding
from retrieval.mixtures import BLOCK, MIXTURES, queries_of, vectors_of

DIRECTIONS: tuple[Direction, ...] = ("text_to_shape", "shape_to_text")


def problems_of_run(
    trained: Trained, settings: Settings, out: Path, device: torch.device
) -> tuple[list[Problem], dict[str, int]]:
    """Both directions of a run, and the bytes that each re-ranker keeps of a shape.

    The queries are those of `experiments.evaluation`: the first caption of every test shape, and every test
    shape. The gallery is the test split, or with ``gallery=all`` all shapes and captions of the library.
    """
    corpus, test = trained.corpus, trained.corpus.splits["test"]
    indices = test if settings.gallery == "test" else torch.arange(len(corpus.dataset))
    texts = corpus.unique_texts(indices)
    shapes, text = shapes_of(trained, indices, device), texts_of(trained, texts, device)
    positives = corpus.positives(texts, indices)
    places = torch.searchsorted(indices, test) if settings.gallery == "all" else torch.arange(len(test))
    asked = {
        "text_to_shape": torch.searchsorted(texts, corpus.first_texts(test)),
        "shape_to_text": places,
    }
    head = light_head(trained, out / "light.safetensors", device, settings.seed)
    made = Rerankers(
        trained.model,
        head,
        shapes,
        text,
        precision=settings.precision,
        keep=settings.keep,
        threads=settings.threads,
    )
    problems = []
    for direction in DIRECTIONS:
        rows = asked[direction]
        queries, vectors = _sides(direction, text, shapes)
        right = positives if direction == "text_to_shape" else positives.T
        problems.append(
            Problem(
                name=direction,
                vectors=vectors,
                queries=queries[rows.numpy()],
                right=answers(right[rows]),
                rows=rows.numpy(),
                rerankers={name: made.make(direction)[name] for name in settings.rerank},
            )
        )
    return problems, {name: made.bytes_per_shape[name] for name in settings.rerank}


def problem_of_mixture(settings: Settings, size: int) -> Problem:
    """A mixture of so many vectors, which have nothing to be re-ranked by."""
    assert settings.mixture is not None
    recipe = MIXTURES[settings.mixture]
    recipe = dataclasses.replace(recipe, width=settings.dim, rank=min(recipe.rank, settings.dim))
    with settings_of("retrieval"):
        asked = queries_of(recipe, size, settings.queries, settings.seed)
    vectors, filled = np.empty((size, settings.dim), np.float32), 0
    with Tracker("making vectors", size, "vectors") as tracker:
        for block in vectors_of(recipe, size, settings.seed):
            vectors[filled : filled + len(block)] = block
            filled += len(block)
            tracker.advance(min(BLOCK, len(block)))
    rows = np.arange(len(asked.vectors))
    name = f"{settings.mixture} {size:,} × {settings.dim}"
    return Problem(name, vectors, asked.vectors, list(asked.targets[:, None]), rows)


def answers(positives: Tensor) -> list[NDArray[np.int64]]:
    """The columns that are true in each row of ``[Q, N]`` bool."""
    return [np.flatnonzero(row) for row in positives.numpy()]


def _sides(
    direction: Direction, text: TextEmbedding, shapes: PointHierarchy
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The vectors that ask and those that are searched."""
    texts, vectors = (part.embedding.float().cpu().numpy() for part in (text, shapes))
    return (texts, vectors) if direction == "text_to_shape" else (vectors, texts)
