"""Memory for the problems of a run: strengths chosen on its reward split, and re-rankers with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from align3d.console.progress import Tracker
from experiments.index_evaluation.load_run import Trained, shapes_of, texts_of
from experiments.index_evaluation.measure import Remembered
from experiments.index_evaluation.options import Settings
from experiments.index_evaluation.rerankers import DIRECTIONS, Direction, Rerankers, compressed
from experiments.index_evaluation.run_memory import Bank
from experiments.index_evaluation.strengths import (
    FIRST_STAGE,
    HUBNESSES,
    RECALLS,
    Strengths,
    choose_strengths,
)
from models.rerank.late_interaction import LightHead

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

    bank: Bank
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
    trained: Trained, bank: Bank, head: LightHead, settings: Settings, device: torch.device
) -> RunMemory:
    """Chooses the strengths for both directions; the test split is not looked at."""
    corpus, reward = trained.corpus, trained.corpus.splits["reward"].sort().values
    texts = corpus.unique_texts(reward)
    shapes, text = shapes_of(trained, reward, device), texts_of(trained, texts, device)
    sides = ((text, shapes), (bank.text, bank.shapes))
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
    positives = corpus.positives(texts, reward).numpy()
    first = torch.searchsorted(texts, corpus.first_texts(reward)).numpy()
    parts = sorted({part for name in settings.rerank for part in PARTS[name]})
    strengths: dict[Direction, dict[str, Strengths]] = {}
    with Tracker("choosing strengths of memory", len(DIRECTIONS) * (1 + len(parts)), "rankings") as tracker:
        for direction in DIRECTIONS:
            forth = direction == "text_to_shape"
            rows, right = (first, positives[first]) if forth else (np.arange(len(reward)), positives.T)
            queries, vectors = made.vectors(direction)
            pairs = bank.pairs[direction]
            own = bank.own_of_shapes(reward) if forth else bank.own_of_texts(texts)
            queries = queries[rows]
            base, recalled = queries @ vectors.T, pairs.recall(queries) @ vectors.T
            hubness = pairs.hubness(vectors, own)
            chosen = choose_strengths(
                base,
                recalled,
                hubness,
                right,
                recalls=RECALLS if settings.memory_recall is None else (settings.memory_recall,),
                hubnesses=HUBNESSES if settings.memory_hubness is None else (settings.memory_hubness,),
                seed=settings.seed,
            )
            found = strengths[direction] = {FIRST_STAGE: chosen}
            tracker.advance(note=direction)
            order = np.argsort(-(base + chosen.recall * recalled - chosen.hubness * hubness), axis=1)
            some = np.random.default_rng(settings.seed).permutation(len(rows))[:QUERIES]
            plain = made.make(direction)
            for part, term in made.remember(direction, of_bank, pairs, own).items():
                if part in parts:
                    ids = order[some, : CANDIDATES[part]]
                    found[part] = choose_strengths(
                        plain[part](rows[some], ids),
                        term.evidence(rows[some], ids),
                        term.hubness_of(ids),
                        np.take_along_axis(right[some], ids, 1),
                        seed=settings.seed,
                    )
                    tracker.advance(note=f"{direction}, {part}")
    return RunMemory(bank, of_bank, strengths)
