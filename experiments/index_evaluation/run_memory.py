"""The memory of a run: its train split as known pairs for both directions, and strengths for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from experiments.index_evaluation.load_run import Trained, shapes_of, texts_of
from experiments.index_evaluation.rerankers import Direction
from models import PointHierarchy, TextEmbedding
from retrieval import KnownPairs


@dataclass(frozen=True)
class Bank:
    """Known pairs of a run: ``T`` captions and ``S`` shapes.

    Attributes:
        texts: ``[T]`` numbers of the captions in the corpus, ascending.
        indices: ``[S]`` of the shapes, ascending.
        text: The captions, encoded.
        shapes: The shapes, encoded.
        pairs: Each caption with the mean of its shapes' embeddings; each shape with that of its captions'.
        texts_of: ``[S, K]`` places of each shape's captions among the texts, -1 behind the last.
        shapes_of: ``[T, P]`` places of each caption's shapes, likewise.
    """

    texts: Tensor
    indices: Tensor
    text: TextEmbedding
    shapes: PointHierarchy
    pairs: dict[Direction, KnownPairs]
    texts_of: NDArray[np.int64]
    shapes_of: NDArray[np.int64]

    def own_of_shapes(self, indices: Tensor) -> NDArray[np.int64] | None:
        """Places ``[N, K]`` of the captions of those shapes that are in the bank; None where none is."""
        return _rows_of(self.texts_of, self.indices, indices)

    def own_of_texts(self, texts: Tensor) -> NDArray[np.int64] | None:
        """Places ``[N, P]`` of the shapes of those captions that are in the bank; None where none is."""
        return _rows_of(self.shapes_of, self.texts, texts)


def bank_of(trained: Trained, device: torch.device) -> Bank:
    """The run's train split, embedded by its model."""
    corpus = trained.corpus
    indices = corpus.splits["train"].sort().values
    texts = corpus.unique_texts(indices)
    shapes, text = shapes_of(trained, indices, device), texts_of(trained, texts, device)
    numbers = corpus.texts_of[indices]
    places = torch.where(numbers >= 0, torch.searchsorted(texts, numbers), -1).numpy()
    shape_vectors, text_vectors = (part.embedding.float().cpu().numpy() for part in (shapes, text))
    back = grouped(places, len(texts))
    pairs: dict[Direction, KnownPairs] = {
        "text_to_shape": KnownPairs(text_vectors, means(shape_vectors, back)),
        "shape_to_text": KnownPairs(shape_vectors, means(text_vectors, places)),
    }
    return Bank(texts, indices, text, shapes, pairs, places, back)


def grouped(places: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """For each of so many places the rows ``[count, P]`` that name it in ``[S, K]``, -1 behind the last."""
    rows, columns = np.nonzero(places >= 0)
    named = places[rows, columns]
    order = np.argsort(named, kind="stable")
    sizes = np.bincount(named, minlength=count)
    found = np.full((count, int(sizes.max(initial=0))), -1, np.int64)
    within = np.arange(len(named)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    found[named[order], within] = rows[order]
    return found


def means(vectors: NDArray[np.float32], places: NDArray[np.int64]) -> NDArray[np.float32]:
    """Means ``[M, D]`` of the vectors at places ``[M, P]``, -1 for none."""
    sums = np.zeros((len(places), vectors.shape[1]), np.float32)
    for column in places.T:  # few, and all rows at once would be large
        sums[column >= 0] += vectors[column[column >= 0]]
    return sums / (places >= 0).sum(axis=1, keepdims=True)


def _rows_of(table: NDArray[np.int64], known: Tensor, asked: Tensor) -> NDArray[np.int64] | None:
    """Rows of the table ``[M, P]`` for what is asked ``[N]`` and known ``[M]`` ascending, else -1."""
    at = torch.searchsorted(known, asked).clamp(max=len(known) - 1)
    there = (known[at] == asked).numpy()
    if not there.any():
        return None
    return np.where(there[:, None], table[at.numpy()], -1)
