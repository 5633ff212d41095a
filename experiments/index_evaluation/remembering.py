"""Memory for the problems of a run: strengths chosen on its reward split, and re-rankers with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from align3d.console.progress import Tracker
from experiments.index_evaluation.load_run import Trained, shapes_of, texts_of
from experiments.index_evaluation.measure import Remembered
from experiments.index_evaluation.options import Settings
from experiments.index_evaluation.rerankers import DIRECTIONS, Direction, Rerankers, compressed
from experiments.index_evaluation.run_memory import RunBank
from experiments.index_evaluation.strengths import (
    FIRST_STAGE,
    HUBNESSES,
    RECALLS,
    Strengths,
    choose_strengths,
)
from models.rerank.late_interaction import LightHead
from retrieval import KnownPairs
from retrieval.memory.reranking import MemoryTerms

PARTS = {"light": ("light",), "cascade": ("light", "haf"), "haf": ("haf",)}
"""Of each ranking, those that memory has strengths for."""
CANDIDATES = {"light": 100, "haf": 32}
"""Of a query, on which strengths are chosen."""
QUERIES = 1_000
"""Of the reward split, likewise for re-rankers."""


@dataclass(frozen=True)
class RunMemory:
    """A run's bank and what it is to be used with.

    Attributes:
        bank: Known pairs.
        rerankers: Of the bank's captions and shapes.
        strengths: By direction and by ``first stage``, ``light``, ``haf``.
    """

    bank: RunBank
    rerankers: Rerankers
    strengths: dict[Direction, dict[str, Strengths]]

    def of(
        self, direction: Direction, made: Rerankers, own: NDArray[np.int64] | None, names: tuple[str, ...]
    ) -> Remembered:
        """Memory for a gallery.

        Args:
            direction: Which side asks.
            made: The gallery's re-rankers.
            own: ``[N, P]`` places of each candidate's own pairs.
            names: Rankings that are wanted.
        """
        pairs, strengths = self.bank.pairs[direction], self.strengths[direction]
        terms = made.remember(direction, self.rerankers, pairs, own)
        for name, term in terms.items():
            if name in strengths:
                term.recall, term.hubness = strengths[name].recall, strengths[name].hubness
        rerankers = made.make(direction, terms)
        hubness = {name: term.hubness_of for name, term in terms.items()}
        return Remembered(pairs, own, strengths, {name: rerankers[name] for name in names}, hubness)


def memory_of(
    trained: Trained, bank: RunBank, head: LightHead, settings: Settings, device: torch.device
) -> RunMemory:
    """Chooses the strengths for both directions; the test split is not looked at.

    The reward split asks, and is searched; with ``gallery=all`` the train split beside it. There the known
    answers themselves stand in the gallery, and what resembles a known query finds these: as its right
    answer in use, but never in such an evaluation, where recall is worth less than among shapes that are new.
    """
    corpus, reward = trained.corpus, trained.corpus.splits["reward"].sort().values
    known = settings.gallery == "all"
    gallery = torch.cat([corpus.splits["train"], reward]).sort().values if known else reward
    texts = corpus.unique_texts(gallery)
    shapes, text = shapes_of(trained, gallery, device), texts_of(trained, texts, device)
    sides = ((text, shapes), (bank.known.text, bank.known.shapes))
    made, of_bank = (
        Rerankers(
            trained.model,
            head,
            captions,
            compressed(trained.model, head, [own], len(own.embedding), device, settings.precision),
            own.embedding.float().cpu().numpy(),
            keep=settings.keep,
            threads=settings.threads,
        )
        for captions, own in sides
    )
    positives = corpus.positives(texts, gallery).numpy()
    first = torch.searchsorted(texts, corpus.first_texts(reward)).numpy()
    places = torch.searchsorted(gallery, reward).numpy()
    asked: dict[Direction, Asked] = {
        "text_to_shape": Asked(first, positives[first], bank.own_of_shapes(gallery)),
        "shape_to_text": Asked(places, positives.T[places], bank.own_of_texts(texts)),
    }
    with Tracker("choosing strengths of memory", len(DIRECTIONS), "directions") as tracker:
        strengths: dict[Direction, dict[str, Strengths]] = {}
        for direction in DIRECTIONS:
            pairs = bank.pairs[direction]
            terms = made.remember(direction, of_bank, pairs, asked[direction].own)
            strengths[direction] = _chosen(direction, made, pairs, terms, asked[direction], settings)
            tracker.advance(note=direction)
    return RunMemory(bank, of_bank, strengths)


@dataclass(frozen=True)
class Asked:
    """One direction of a split.

    Attributes:
        rows: ``[Q]`` of what asks, among all texts or shapes.
        right: ``[Q, N]`` bool.
        own: ``[N, P]`` places of each candidate's own pairs.
    """

    rows: NDArray[np.int64]
    right: NDArray[np.bool_]
    own: NDArray[np.int64] | None


def _chosen(
    direction: Direction,
    made: Rerankers,
    pairs: KnownPairs,
    terms: Mapping[str, MemoryTerms],
    asked: Asked,
    settings: Settings,
) -> dict[str, Strengths]:
    """Strengths of the first stage, and of the re-rankers on what it then finds."""
    everything, vectors = made.vectors(direction)
    queries = everything[asked.rows]
    base, recalled = queries @ vectors.T, pairs.recall(queries) @ vectors.T
    hubness = pairs.hubness(vectors, asked.own)
    recalls = RECALLS if settings.memory_recall is None else (settings.memory_recall,)
    hubnesses = HUBNESSES if settings.memory_hubness is None else (settings.memory_hubness,)
    first = choose_strengths(
        base, recalled, hubness, asked.right, recalls=recalls, hubnesses=hubnesses, seed=settings.seed
    )
    found = {FIRST_STAGE: first}
    order = np.argsort(-(base + first.recall * recalled - first.hubness * hubness), axis=1)
    some = np.random.default_rng(settings.seed).permutation(len(asked.rows))[:QUERIES]
    rows, right, rerankers = asked.rows[some], asked.right[some], made.make(direction)
    for part in dict.fromkeys(part for name in settings.rerank for part in PARTS[name]):
        ids = order[some, : CANDIDATES[part]]
        found[part] = choose_strengths(
            rerankers[part](rows, ids),
            terms[part].evidence(rows, ids),
            terms[part].hubness_of(ids),
            np.take_along_axis(right, ids, 1),
            seed=settings.seed,
        )
    return found
