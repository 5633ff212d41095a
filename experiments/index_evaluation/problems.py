"""Retrieval problems: a run's shapes and captions, new shapes of its source, or a mixture's vectors."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from align3d.captions import normalize_caption
from align3d.console.progress import Tracker
from align3d.errors import UserError, settings_of
from align3d.pipeline import default_cache
from experiments.data.encoding import embed_features, tell_unread
from experiments.index_evaluation.distill_light import light_head
from experiments.index_evaluation.generated_gallery import Fresh, fresh_shapes
from experiments.index_evaluation.load_run import Trained, shapes_of, texts_of
from experiments.index_evaluation.measure import Problem
from experiments.index_evaluation.options import Settings
from experiments.index_evaluation.remembering import RunMemory, memory_of
from experiments.index_evaluation.rerankers import DIRECTIONS, Rerankers, compressed
from experiments.index_evaluation.run_memory import bank_of
from models import TextEncoder
from models.quantities import prefers_decimal_comma
from models.rerank.late_interaction import LightHead
from retrieval.benchmark.synthetic import BLOCK, MIXTURES, queries_of, vectors_of


def problems_of_run(
    trained: Trained, settings: Settings, out: Path, device: torch.device
) -> tuple[list[Problem], dict[str, int]]:
    """Both directions of a run, and the bytes that each re-ranker keeps of a shape.

    The queries are those of a run's evaluation: the first caption of every test shape, and every test
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
    head = light_head(trained, out, device, settings.seed)
    made = Rerankers(
        trained.model,
        head,
        text,
        compressed(trained.model, head, [shapes], len(indices), device, settings.precision),
        shapes.embedding.float().cpu().numpy(),
        keep=settings.keep,
        threads=settings.threads,
    )
    memory = _memory(trained, head, settings, device)
    problems = []
    for direction in DIRECTIONS:
        rows = asked[direction]
        queries, vectors = made.vectors(direction)
        right = positives if direction == "text_to_shape" else positives.T
        remembered = None
        if memory is not None:
            bank = memory.bank
            forth = direction == "text_to_shape"
            own = bank.own_of_shapes(indices) if forth else bank.own_of_texts(texts)
            remembered = memory.of(direction, made, own, settings.rerank)
        problems.append(
            Problem(
                name=direction,
                vectors=vectors,
                queries=queries[rows.numpy()],
                right=answers(right[rows]),
                rows=rows.numpy(),
                rerankers={name: made.make(direction)[name] for name in settings.rerank},
                memory=remembered,
            )
        )
    return problems, {name: made.bytes_per_shape[name] for name in settings.rerank}


def problems_of_new(
    trained: Trained, settings: Settings, out: Path, device: torch.device
) -> tuple[Iterator[Problem], dict[str, int]]:
    """Captions of new shapes of the run's source against so many of them, a problem a size.

    The queries are first captions of shapes that are in the smallest gallery and not in the train split, the
    same ones for all sizes. See `problems_of_run` for what is returned.

    Raises:
        UserError: The source has no new shapes, or too few for the queries.
    """
    fresh = fresh_shapes(trained, max(settings.size), device)
    rows = _asking(fresh, trained, min(settings.size), settings)
    asked = [fresh.captions[row][0] for row in rows]
    encoder = TextEncoder(
        trained.config.train.text_encoder,
        cache=(trained.config.cache or default_cache()) / "text",
        device=device,
        max_tokens=trained.config.train.max_tokens,
        decimal_comma=prefers_decimal_comma(trained.corpus.captions),
    )
    with Tracker("encoding captions", len(asked), "captions") as tracker:
        features = encoder.encode(asked, advance=tracker.advance)
    tell_unread(features, encoder)
    text = embed_features(trained.model, features, device)
    vectors = fresh.vectors()
    head = light_head(trained, out, device, settings.seed)
    shapes = compressed(trained.model, head, fresh.pieces(), len(fresh), device, settings.precision)
    made = Rerankers(trained.model, head, text, shapes, vectors, keep=settings.keep, threads=settings.threads)
    right = same_captions(asked, fresh.captions)
    rerankers = made.make("text_to_shape")
    queries = text.embedding.float().cpu().numpy()
    memory = _memory(trained, head, settings, device)
    remembered = None
    if memory is not None:
        own = memory.bank.own_of_shapes(_drawn_again(fresh, trained))
        remembered = memory.of("text_to_shape", made, own, settings.rerank)

    def problems() -> Iterator[Problem]:
        for size in settings.size:
            count = min(size, len(fresh))
            yield Problem(
                name=f"text_to_shape, {count:,} new shapes",
                vectors=vectors[:count],
                queries=queries,
                right=[places[places < count] for places in right],
                rows=np.arange(len(asked)),
                rerankers={name: rerankers[name] for name in settings.rerank},
                memory=None if remembered is None else remembered.first(count),
            )

    return problems(), {name: made.bytes_per_shape[name] for name in settings.rerank}


def _asking(fresh: Fresh, trained: Trained, count: int, settings: Settings) -> NDArray[np.int64]:
    """Rows below ``count`` of shapes that ask, ascending."""
    hashes = trained.corpus.dataset.content_hashes
    known = {hashes[row] for row in trained.corpus.splits["train"].tolist()}
    free = np.array([row for row, own in enumerate(fresh.hashes[:count]) if own not in known], np.int64)
    if len(free) < settings.queries:
        raise UserError(
            f"queries={settings.queries}: {len(free)} of {count} new shapes are none of the train split's; "
            "ask for fewer, or raise size"
        )
    chosen = np.random.default_rng(settings.seed).choice(free, settings.queries, replace=False)
    return np.sort(chosen)


def same_captions(asked: Sequence[str], captions: Sequence[Sequence[str]]) -> list[NDArray[np.int64]]:
    """For each text that asks the rows that have it among their captions, in the same normal form."""
    rows: dict[str, list[int]] = {normalize_caption(text): [] for text in asked}
    for row, own in enumerate(captions):
        for form in {normalize_caption(caption) for caption in own}:
            if form in rows:
                rows[form].append(row)
    return [np.array(rows[normalize_caption(text)], np.int64) for text in asked]


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


def _memory(trained: Trained, head: LightHead, settings: Settings, device: torch.device) -> RunMemory | None:
    if settings.memory == "off":
        return None
    return memory_of(trained, bank_of(trained, device), head, settings, device)


def _drawn_again(fresh: Fresh, trained: Trained) -> Tensor:
    """``[N]``: the shape of the train split that each new shape is equal to, -1 for none."""
    hashes = trained.corpus.dataset.content_hashes
    known = {hashes[row]: row for row in trained.corpus.splits["train"].tolist()}
    return torch.tensor([known.get(own, -1) for own in fresh.hashes])
