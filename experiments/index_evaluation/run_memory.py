"""The memory of a run: its train split as known pairs for both directions of a search."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from align3d.console.progress import Tracker
from experiments.data.bank import Bank, remember
from experiments.index_evaluation.load_run import Trained
from experiments.index_evaluation.rerankers import Direction
from models.memory import Side
from retrieval import KnownPairs

SIDES: dict[Direction, Side] = {"text_to_shape": "text", "shape_to_text": "shape"}
"""What asks in each direction."""


@dataclass(frozen=True)
class RunBank:
    """Known pairs of a run: ``T`` captions and ``S`` shapes.

    Attributes:
        known: The pairs, encoded; their rows are those of ``texts`` and ``indices``.
        texts: ``[T]`` numbers of the captions in the corpus, ascending.
        indices: ``[S]`` of the shapes, ascending.
        pairs: Each caption with the mean of its shapes' embeddings; each shape with that of its captions'.
    """

    known: Bank
    texts: Tensor
    indices: Tensor
    pairs: dict[Direction, KnownPairs]

    def own_of_shapes(self, indices: Tensor) -> NDArray[np.int64] | None:
        """Places ``[N, K]`` of the captions of those shapes that are in the bank; None where none is."""
        texts, shapes = self.known.memory.pairs.cpu().numpy().T
        return _rows_of(grouped(shapes, texts, len(self.indices)), self.indices, indices)

    def own_of_texts(self, texts: Tensor) -> NDArray[np.int64] | None:
        """Places ``[N, P]`` of the shapes of those captions that are in the bank; None where none is."""
        own, shapes = self.known.memory.pairs.cpu().numpy().T
        return _rows_of(grouped(own, shapes, len(self.texts)), self.texts, texts)


def bank_of(trained: Trained, device: torch.device) -> RunBank:
    """The run's train split, embedded by its model."""
    corpus = trained.corpus
    indices = corpus.splits["train"].sort().values
    with Tracker("encoding known pairs", len(indices), "shapes") as tracker:
        known = remember(trained.model, corpus, indices, device, tracker.advance)
    pairs = {
        direction: KnownPairs(_plain(known.memory.known(side)), _plain(known.memory.meanings(side)))
        for direction, side in SIDES.items()
    }
    return RunBank(known, corpus.unique_texts(indices), indices, pairs)


def grouped(asks: NDArray[np.int64], answers: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Answers ``[count, P]`` of each of so many that ask, from pairs ``[n]``; -1 behind the last."""
    order = np.argsort(asks, kind="stable")
    sizes = np.bincount(asks, minlength=count)
    found = np.full((count, int(sizes.max(initial=0))), -1, np.int64)
    within = np.arange(len(asks)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    found[asks[order], within] = answers[order]
    return found


def _plain(vectors: Tensor) -> NDArray[np.float32]:
    return vectors.float().cpu().numpy()


def _rows_of(table: NDArray[np.int64], known: Tensor, asked: Tensor) -> NDArray[np.int64] | None:
    """Rows of the table ``[M, P]`` for what is asked ``[N]`` and known ``[M]`` ascending, else -1."""
    at = torch.searchsorted(known, asked).clamp(max=len(known) - 1)
    there = (known[at] == asked).numpy()
    if not there.any():
        return None
    return np.where(there[:, None], table[at.numpy()], -1)
