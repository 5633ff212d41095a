"""Costs of a memory: time of a query with it and without, bytes, seconds to build the library."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from torch import Tensor

from align3d.console.progress import Tracker
from experiments.data.bank import Bank, remember
from experiments.data.encoding import frozen
from experiments.evaluation.gallery import Gallery
from experiments.memory_controls.control_options import Settings
from experiments.memory_controls.examined_run import ROWS, Examined
from models import AlignmentModel, fine_hubness

BATCHES = (1, 32)
"""Queries at a time."""


def costs(examined: Examined, settings: Settings) -> dict[str, float]:
    """Milliseconds, bytes and seconds by what they are of; one thread.

    A query is an encoded text that asks for shapes. HAF's times hold the search of its candidates. Rankings
    take turns, query by query, so that a busy machine slows all of them down.
    """
    gallery, bank = examined.galleries[1], examined.bank
    with one_thread(), frozen(examined.model):
        found = {
            f"ms a query, {row}, {size} at a time": milliseconds
            for size in BATCHES
            for row, milliseconds in _timed(examined, gallery, size, settings.queries).items()
        }
        return found | _bytes(gallery, bank) | _seconds(examined, gallery)


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch on one thread; their number is put back."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def rankings(
    model: AlignmentModel, gallery: Gallery, candidates: int, strength: float = 1.0
) -> dict[str, Callable[[Tensor], Tensor]]:
    """Ranking of shapes for texts ``[B]`` of the gallery by each of `ROWS`: functions to ids ``[B, C]``.

    Args:
        model: A trained model.
        gallery: With a memory.
        candidates: ``C``.
        strength: Of recall and of hubness.
    """
    known = gallery.memory
    assert known is not None
    memory, shapes = known.library.memory, gallery.shapes.embedding
    hubness = memory.hubness(shapes, "shape")  # of the shapes alone, so known before the first query
    count = min(candidates, len(shapes))

    def search(texts: Tensor, *, remembers: bool) -> Tensor:
        query = gallery.text.embedding[texts]
        if not remembers:
            return (query @ shapes.T).topk(count, dim=1).indices
        query = query + strength * memory.recall(query, "text")
        return (query @ shapes.T - strength * hubness).topk(count, dim=1).indices

    def rerank(texts: Tensor, *, remembers: bool) -> Tensor:
        found = search(texts, remembers=False)
        state = gallery.attend(model, texts, found, library=remembers)
        score = model.haf.fuse(state).score
        if remembers:
            score = score + strength * state.recall - strength * state.hubness
        return found.gather(1, score.argsort(dim=1, descending=True))

    stages = {"search": search, "rerank": rerank}

    def ranking(row: str) -> Callable[[Tensor], Tensor]:
        stage, remembers = ROWS[row]
        return lambda texts: stages[stage](texts, remembers=remembers)

    return {row: ranking(row) for row in ROWS}


def _timed(examined: Examined, gallery: Gallery, size: int, queries: int) -> dict[str, float]:
    """Median milliseconds of a query for each of `ROWS`, so many at a time."""
    ask = rankings(examined.model, gallery, examined.config.eval.candidates)
    batches = gallery.first[:queries].to(gallery.similarity.device).split(size)
    seconds: dict[str, list[float]] = {row: [] for row in ROWS}
    for answer in ask.values():
        answer(batches[0])
    with Tracker(f"timing, {size} at a time", len(batches), "batches") as tracker:
        for texts in batches:
            for row, answer in ask.items():
                seconds[row].append(_took(partial(answer, texts)) / len(texts))
            tracker.advance()
    return {row: 1e3 * float(np.median(took)) for row, took in seconds.items()}


def _bytes(gallery: Gallery, bank: Bank) -> dict[str, float]:
    """Bytes of a shape of the gallery without a memory and what it adds; of a known pair."""
    known = gallery.memory
    assert known is not None
    shapes, pairs = len(gallery.shapes.embedding), len(bank.memory)
    meant = sum(_size(bank.memory.meanings(side)) for side in ("text", "shape"))
    encoded = sum(
        _size(value)
        for part in (bank.text, bank.shapes)
        for field in dataclasses.fields(part)
        if field.name != "embedding" and (value := getattr(part, field.name)) is not None
    )
    hubness = gallery.shapes.embedding[:, 0]  # of embeddings, one number per shape
    own = sum(_size(part) for part in (known.library.recalled, known.library.hubness, hubness))
    return {
        "bytes a shape, embedding": _size(gallery.shapes.embedding) / shapes,
        "bytes a shape, added by the memory": own / shapes,
        "bytes a known pair, to search": (bank.memory.resident_bytes + meant) / pairs,
        "bytes a known pair, for HAF's hubness of new shapes": encoded / pairs,
    }


def _seconds(examined: Examined, gallery: Gallery) -> dict[str, float]:
    """Seconds to build the library of a gallery, by its parts."""
    model, corpus, bank = examined.model, examined.corpus, examined.bank
    shapes = gallery.shapes
    parts: dict[str, Callable[[], object]] = {
        "encoding the known pairs": lambda: remember(model, corpus, corpus.splits["train"], examined.device),
        "hubness of embeddings": lambda: bank.memory.hubness(shapes.embedding, "shape"),
        "recall of shapes": lambda: bank.memory.recall(shapes.embedding, "shape"),
        "hubness of HAF's scores": lambda: fine_hubness(model, bank.text, shapes, "shape"),
    }
    return {
        f"seconds to build, {name} ({len(bank.memory) if number == 0 else len(shapes.embedding):,})": _took(
            part
        )
        for number, (name, part) in enumerate(parts.items())
    }


def _took(work: Callable[[], object]) -> float:
    """Seconds of a piece of work, all of it done on the device."""
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
