"""Gallery of an evaluation: a split, encoded, with what a bank of known pairs says of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from experiments.data.bank import Bank
from experiments.data.corpus import Corpus
from experiments.data.encoding import embed_shapes, embed_texts, frozen
from models import AlignmentModel, AttentionState, Library, PointHierarchy, TextEmbedding
from models.library import pair_recall

Stage = Literal["search", "rerank"]
STAGES: tuple[Stage, ...] = ("search", "rerank")
"""Exact search on global embeddings, and HAF on its first candidates."""


@dataclass
class GalleryMemory:
    """Evidence of a bank on a gallery in both directions. ``M`` shapes, ``Q`` captions.

    Attributes:
        library: Of the shapes.
        recalled: ``[Q, E]`` what each caption recalls.
        caption_hubness: ``[Q]`` logits, as `Library.hubness` of the shapes.
    """

    library: Library
    recalled: Tensor
    caption_hubness: Tensor


@dataclass
class Gallery:
    """A split, encoded. ``M`` shapes, ``Q`` unique captions.

    Attributes:
        shapes: Batch ``[M]``.
        text: Batch ``[Q]``.
        positives: ``[Q, M]`` bool.
        first: ``[M]`` the place of each shape's first caption among the Q.
        similarity: ``[Q, M]`` cosines of the global embeddings.
        keys_values: HAF's projections of the shapes, see `HierarchicalAttentionFusion.project`.
        memory: What known pairs say of it; None without any.
    """

    shapes: PointHierarchy
    text: TextEmbedding
    positives: Tensor
    first: Tensor
    similarity: Tensor
    keys_values: tuple[Tensor, Tensor]
    memory: GalleryMemory | None = None

    def nearest_shapes(self, count: int) -> Tensor:
        """The shapes nearest to each caption by global embeddings, ``[Q, min(count, M)]``, best first."""
        return self.similarity.topk(min(count, self.similarity.shape[1]), dim=1).indices

    def nearest_texts(self, count: int) -> Tensor:
        """The captions nearest to each shape by global embeddings, ``[M, min(count, Q)]``, best first."""
        return self.similarity.topk(min(count, len(self.similarity)), dim=0).indices.T

    def remembering(self, model: AlignmentModel, bank: Bank) -> Gallery:
        """The same with what a bank says of it, none of whose pairs are in the gallery."""
        memory = GalleryMemory(
            library=bank.library(model, self.shapes),
            recalled=bank.memory.recall(self.text.embedding, "text"),
            caption_hubness=bank.caption_hubness(model, self.text),
        )
        return replace(self, memory=memory)

    def attend(
        self,
        model: AlignmentModel,
        texts: Tensor,
        shapes: Tensor,
        paired: Tensor | None = None,
        *,
        library: bool = True,
    ) -> AttentionState:
        """HAF's attention of captions ``[B]`` over shapes ``[B, C]``; see `AlignmentModel.attend`.

        Args:
            model: A trained model.
            texts: ``[B]``.
            shapes: ``[B, C]``.
            paired: ``[B]`` candidate whose association may be calibrated.
            library: Whether what the memory says is looked up too, if there is one.
        """
        own = self.text.select(texts)
        score = model.logit_scale * self.similarity[texts].gather(1, shapes)
        evidence = None
        if library and self.memory is not None:
            evidence = self.memory.library.evidence(own.embedding, shapes, model.logit_scale)
        return model.haf.attend(
            own.tokens,
            own.mask,
            own.quantities,
            self.shapes,
            shapes,
            score,
            paired,
            self.keys_values,
            evidence,
        )

    def recall(self, scale: Tensor | float, texts: Tensor, shapes: Tensor) -> Tensor:
        """Agreement of pairs ``[...]`` with what is recalled, ``[...]`` logits; 0 without a memory."""
        if self.memory is None:
            return torch.zeros(texts.shape, device=self.similarity.device)
        return pair_recall(
            self.text.embedding[texts],
            self.shapes.embedding[shapes],
            self.memory.recalled[texts],
            self.memory.library.recalled[shapes],
            scale,
        )


def encode_split(
    model: AlignmentModel, corpus: Corpus, indices: Tensor, device: torch.device, bank: Bank | None = None
) -> Gallery:
    """Encodes the shapes at ``indices`` and their captions.

    Args:
        model: A trained model.
        corpus: The data.
        indices: Shapes of the gallery.
        device: Where the model is.
        bank: Known pairs, none of them in the gallery.
    """
    texts = corpus.unique_texts(indices)
    shapes = embed_shapes(model, corpus, indices, device)
    text = embed_texts(model, corpus, texts, device)
    with frozen(model):
        keys_values = model.haf.project(shapes)
    gallery = Gallery(
        shapes=shapes,
        text=text,
        positives=corpus.positives(texts, indices),
        first=torch.searchsorted(texts, corpus.first_texts(indices)),
        similarity=text.embedding @ shapes.embedding.T,
        keys_values=keys_values,
    )
    return gallery if bank is None else gallery.remembering(model, bank)
