"""Library of a training batch: what known pairs say of it, as if neither it nor its rivals were among them.

At query time neither the query nor a candidate is a known pair, and the gallery is a sample like the known
pairs. In training every shape is known. Without its own pair a text still recalls the look-alikes that it is
to be told from, which then speak for themselves; without these either, the whole neighborhood is gone and
recall points away from the answer. So the train split is cut in halves at random, anew whenever it is
embedded: each half asks, and is asked for, with the pairs of the other, and only shapes of one half are
compared. No pair that has a text or a shape in common with one of the half is left in.

Everything is measured among the embeddings that the memory was made of, those of the batch as well: whole
captions and shapes as they are, even where the step drops words or shifts shapes. The hubness is that of
embeddings; HAF's own would take it as many scores of pairs again as a whole epoch does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from experiments.data.batches import Batch
from experiments.data.corpus import Corpus
from models import AlignmentMemory
from models.library import gallery_context, pair_recall
from models.memory import KNOWN, LibraryEvidence

HALVES = 2


@dataclass
class BatchLibrary:
    """Evidence of known pairs on ``B`` texts and ``B`` shapes that are not among them.

    Attributes:
        same: ``[B, B]`` bool, texts × shapes: of one half, so that the evidence on them may be compared.
        recall: ``[B, B]`` cosines, texts × shapes, see `models.library.pair_recall`.
        text_hubness: ``[B]`` cosines: how readily each text answers known shapes.
        shape_hubness: ``[B]`` cosines: how readily each shape answers known texts.
        text_likeness: ``[B, KNOWN]`` cosines of the texts and the known ones nearest to each.
        shape_likeness: ``[B]`` cosines of the shapes and the known ones nearest to each.
    """

    same: Tensor
    recall: Tensor
    text_hubness: Tensor
    shape_hubness: Tensor
    text_likeness: Tensor
    shape_likeness: Tensor

    def evidence(self, rows: Tensor, candidates: Tensor, scale: Tensor | float) -> LibraryEvidence:
        """Evidence on texts ``[Q]`` and their candidates ``[Q, C]``, both places in the batch.

        Args:
            rows: The texts.
            candidates: The shapes beside each, of its half.
            scale: Logits of a cosine of 1.
        """
        gallery = gallery_context(self.shape_likeness, scale * self.shape_hubness)
        return LibraryEvidence(
            recall=scale * self.recall[rows].gather(1, candidates),
            hubness=scale * self.shape_hubness[candidates],
            context=torch.cat([self.text_likeness[rows], gallery.expand(len(rows), -1)], dim=1),
            batch_size=[len(rows)],
        )


class TrainMemory:
    """The memory of the train split under the weights of some step, in halves.

    Args:
        memory: Its pairs. ``K`` texts, ``S`` shapes.
        half: ``[S]`` int64, the half that each shape is in.
        corpus: The data.
        shapes: ``[S]`` the memory's shapes in the data.
    """

    def __init__(self, memory: AlignmentMemory, half: Tensor, corpus: Corpus, shapes: Tensor) -> None:
        self.memory, self.half = memory, half
        device = memory.pairs.device
        self._text_row = _places(corpus.unique_texts(shapes), len(corpus.captions)).to(device)
        self._shape_row = _places(shapes, len(corpus.texts_of)).to(device)
        known = [_without(memory, half == number) for number in range(HALVES)]
        self._text_recalls = torch.stack([part.recall(memory.text, "text") for part in known])  # [2, K, E]
        self._text_hubness = torch.stack([part.hubness(memory.text, "text") for part in known])  # [2, K]
        self._text_likeness = torch.stack([part.likeness(memory.text, "text", KNOWN) for part in known])
        recalls = torch.stack([part.recall(memory.shape, "shape") for part in known])
        hubness = torch.stack([part.hubness(memory.shape, "shape") for part in known])
        rows = torch.arange(len(half), device=device)
        likeness = torch.stack([part.likeness(memory.shape, "shape", 1).squeeze(1) for part in known])
        self._shape_recalls, self._shape_hubness = recalls[half, rows], hubness[half, rows]
        self._shape_likeness = likeness[half, rows]

    @classmethod
    def halved(
        cls, memory: AlignmentMemory, corpus: Corpus, shapes: Tensor, draws: torch.Generator
    ) -> TrainMemory:
        """The memory in two random halves, as equal as may be."""
        half = torch.randperm(len(shapes), generator=draws) % HALVES
        return cls(memory, half.to(memory.pairs.device), corpus, shapes)

    def library(self, batch: Batch) -> BatchLibrary:
        """Evidence of the pairs of each half on those of the other in a batch of the same split."""
        device = self.half.device
        texts = self._text_row[batch.texts.to(device)]
        shapes = self._shape_row[batch.indices.to(device)]
        half = self.half[shapes]  # of a text that is of both, that of its pair
        return BatchLibrary(
            same=half.unsqueeze(1) == half,
            recall=pair_recall(
                self.memory.text[texts].unsqueeze(1),
                self.memory.shape[shapes],
                self._text_recalls[half, texts].unsqueeze(1),
                self._shape_recalls[shapes],
                scale=1.0,
            ),
            text_hubness=self._text_hubness[half, texts],
            shape_hubness=self._shape_hubness[shapes],
            text_likeness=self._text_likeness[half, texts],
            shape_likeness=self._shape_likeness[shapes],
        )

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        memory = self.memory
        return {"text": memory.text, "shape": memory.shape, "pairs": memory.pairs, "half": self.half}

    @classmethod
    def restored(cls, state: dict[str, Any], corpus: Corpus, shapes: Tensor) -> TrainMemory:
        """From what `state` returned."""
        memory = AlignmentMemory(state["text"], state["shape"], state["pairs"])
        return cls(memory, state["half"], corpus, shapes)


def _without(memory: AlignmentMemory, inside: Tensor) -> AlignmentMemory:
    """The pairs that have nothing to do with the shapes ``inside``, bool ``[S]``.

    As `AlignmentMemory.others` for each of them: shapes that have a caption in common with one of them are
    left out, too, and all texts of any of these.
    """
    text, shape = memory.pairs.unbind(1)
    named = torch.zeros(len(memory.text), dtype=torch.bool, device=inside.device)
    named[text[inside[shape]]] = True
    twins = inside.clone()
    twins[shape[named[text]]] = True
    named[text[twins[shape]]] = True
    kept = ~named[text] & ~twins[shape]
    rows = [(~gone).cumsum(0) - 1 for gone in (named, twins)]
    pairs = torch.stack([rows[0][text[kept]], rows[1][shape[kept]]], dim=1)
    return AlignmentMemory(memory.text[~named], memory.shape[~twins], pairs, memory.sharpness)


def _places(numbers: Tensor, count: int) -> Tensor:
    """Place of each of ``count`` numbers among ``numbers``; -1 if it has none."""
    places = torch.full((count,), -1)
    places[numbers] = torch.arange(len(numbers))
    return places
