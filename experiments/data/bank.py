"""Bank of known pairs: a split's captions and shapes under a trained model, of which libraries are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.data.corpus import Corpus
from experiments.data.encoding import embed_shapes, embed_texts, frozen
from models import AlignmentMemory, AlignmentModel, Library, PointHierarchy, TextEmbedding, fine_hubness


@dataclass
class Bank:
    """Known pairs, as the alignment memory and as HAF needs them. ``K`` captions, ``S`` shapes.

    Attributes:
        memory: Their embeddings, and which belong together.
        text: Batch ``[K]``.
        shapes: Batch ``[S]``.
    """

    memory: AlignmentMemory
    text: TextEmbedding
    shapes: PointHierarchy

    def library(self, model: AlignmentModel, shapes: PointHierarchy) -> Library:
        """The library of a gallery ``[M]``, none of whose shapes are known."""
        with frozen(model):
            return Library(
                memory=self.memory,
                shapes=shapes.embedding,
                recalled=self.memory.recall(shapes.embedding, "shape"),
                likeness=self.memory.likeness(shapes.embedding, "shape", 1).squeeze(1),
                hubness=fine_hubness(model, self.text, shapes, "shape"),
            )

    def caption_hubness(self, model: AlignmentModel, text: TextEmbedding) -> Tensor:
        """Hubness of captions ``[Q]`` for known shapes, ``[Q]`` logits."""
        with frozen(model):
            return fine_hubness(model, text, self.shapes, "text")


def remember(
    model: AlignmentModel,
    corpus: Corpus,
    indices: Tensor,
    device: torch.device,
    advance: Callable[[int], None] | None = None,
) -> Bank:
    """The bank of the shapes at ``indices`` ``[S]``, in this order, and all their captions, ascending.

    Args:
        model: Encodes them.
        corpus: Holds them.
        indices: Their rows.
        device: Where they are encoded.
        advance: Called with the number of shapes after each piece, for a progress bar.
    """
    texts = corpus.unique_texts(indices)
    text = embed_texts(model, corpus, texts, device)
    shapes = embed_shapes(model, corpus, indices, device, advance)
    own = corpus.texts_of[indices]  # [S, K]
    shape, place = (own >= 0).nonzero(as_tuple=True)
    pairs = torch.stack([torch.searchsorted(texts, own[shape, place]), shape], dim=1).to(device)
    return Bank(AlignmentMemory(text.embedding, shapes.embedding, pairs), text, shapes)
