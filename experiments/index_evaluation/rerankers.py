"""HAF as a re-ranker of ids, in both directions: whole, light, and the light one before the whole.

Each may be given a memory of known pairs, whose hubness is that of its own scores: what answers any text
well by single vectors need not do so by HAF.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import AlignmentModel, PointHierarchy, TextEmbedding
from models.rerank.cached_haf import (
    CompactShapes,
    CompactTexts,
    Precision,
    compact_shapes,
    compact_texts,
    fine_scores,
)
from models.rerank.late_interaction import LightHead, LightShapes, LightTexts
from models.rerank.late_interaction_kernel import scores_of_shapes, scores_of_texts
from retrieval.memory.known_pairs import KnownPairs
from retrieval.memory.reranking import MemoryTerms, ScoreHubness
from retrieval.reranker import Cascade, Reranker, Similarity, Sum, Threaded

Direction = Literal["text_to_shape", "shape_to_text"]
DIRECTIONS: tuple[Direction, ...] = ("text_to_shape", "shape_to_text")
OPPOSITE: dict[Direction, Direction] = {"text_to_shape": "shape_to_text", "shape_to_text": "text_to_shape"}
PAIRS = 128
"""(text, shape) pairs at a time: more leave the processor's cache."""


class LightReranker:
    """The light re-ranker's scores; queries and candidates by their place in the texts and shapes."""

    def __init__(self, texts: LightTexts, shapes: LightShapes, direction: Direction) -> None:
        self._texts, self._shapes = texts, shapes
        self._scores = scores_of_shapes if direction == "text_to_shape" else scores_of_texts

    def __call__(
        self, query_rows: NDArray[np.int64], candidate_ids: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """See `retrieval.reranker.Reranker`."""
        return self._scores(self._texts, self._shapes, query_rows, candidate_ids)


class HafReranker:
    """HAF's own scores; queries and candidates by their place in the texts and shapes."""

    def __init__(
        self, model: AlignmentModel, texts: CompactTexts, shapes: CompactShapes, direction: Direction
    ) -> None:
        self._haf, self._texts, self._shapes, self._direction = model.haf, texts, shapes, direction

    def __call__(
        self, query_rows: NDArray[np.int64], candidate_ids: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """See `retrieval.reranker.Reranker`."""
        queries = torch.from_numpy(np.ascontiguousarray(query_rows)).to(self._texts.lengths.device)
        rows = torch.from_numpy(np.maximum(candidate_ids, 0)).to(queries.device)
        if self._direction == "text_to_shape":
            scores = self._of_texts(queries, rows)
        else:  # every pair is a text of its own with one candidate
            pairs = queries.unsqueeze(1).expand_as(rows).reshape(-1, 1)
            scores = self._of_texts(rows.reshape(-1), pairs).view(rows.shape)
        return scores.cpu().numpy()

    def _of_texts(self, texts: Tensor, shapes: Tensor) -> Tensor:
        """``[B, C]``, texts of like length together."""
        found = torch.zeros(shapes.shape, device=shapes.device)
        order = self._texts.lengths[texts].argsort()
        for rows in order.split(max(1, PAIRS // max(shapes.shape[1], 1))):
            found[rows] = fine_scores(self._haf, self._texts, self._shapes, texts[rows], shapes[rows])
        return found


class Rerankers:
    """All re-rankers of a gallery.

    Args:
        model: A trained model.
        head: Its light re-ranker.
        text: The captions.
        shapes: What is kept of the gallery, see `compressed`.
        vectors: ``[N, D]``, the gallery's global embeddings.
        keep: Candidates of the light re-ranker that HAF sees in the cascade.
        threads: Of the light re-ranker; PyTorch has its own for HAF.
    """

    def __init__(
        self,
        model: AlignmentModel,
        head: LightHead,
        text: TextEmbedding,
        shapes: tuple[LightShapes, CompactShapes],
        vectors: NDArray[np.float32],
        *,
        keep: int = 8,
        threads: int = 1,
    ) -> None:
        self._model, self._keep, self._threads = model, keep, threads
        light, full = shapes
        self._light = head.compress_texts(text), light
        self._full = compact_texts(model.haf, text), full
        self._text_vectors = text.embedding.float().cpu().numpy()
        self._shape_vectors = vectors

    @property
    def bytes_per_shape(self) -> dict[str, int]:
        """Bytes that a shape takes for each re-ranker, beside its embedding."""
        light, full = self._light[1].bytes_per_shape, self._full[1].bytes_per_shape
        return {"light": light, "haf": full, "cascade": light + full}

    def vectors(self, direction: Direction) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The embeddings that ask ``[Q, D]`` and those that are searched ``[N, D]``."""
        sides = self._text_vectors, self._shape_vectors
        return sides if direction == "text_to_shape" else sides[::-1]

    def make(
        self, direction: Direction, terms: Mapping[str, MemoryTerms] | None = None
    ) -> dict[str, Reranker]:
        """``light``, ``cascade`` and ``haf`` by name.

        Args:
            direction: Which side asks.
            terms: Of memory for ``light`` and ``haf``, see `remember`; the cascade has both.
        """
        coarse = Similarity(*self.vectors(direction), float(self._model.logit_scale))
        parts: dict[str, list[Reranker]] = {
            "light": [LightReranker(*self._light, direction), coarse],
            "haf": [HafReranker(self._model, *self._full, direction), coarse],
        }
        for name, term in (terms or {}).items():
            parts[name].append(term)
        light, full = Threaded(Sum(*parts["light"]), self._threads), Sum(*parts["haf"])
        return {"light": light, "cascade": Cascade(light, full, self._keep), "haf": full}

    def remember(
        self, direction: Direction, bank: Rerankers, pairs: KnownPairs, own: NDArray[np.int64] | None
    ) -> dict[str, MemoryTerms]:
        """Recall and hubness for ``light`` and ``haf``, at strengths that are yet to be set.

        Args:
            direction: Which side asks.
            bank: Re-rankers of the known pairs' captions and shapes.
            pairs: The same pairs as embeddings, whose keys are the bank's side that asks.
            own: ``[N, P]`` places of each candidate's own pairs, -1 for none.
        """
        scale = float(self._model.logit_scale)
        queries, vectors = self.vectors(direction)
        keys, _ = bank.vectors(direction)
        recalled, coarse = pairs.recall(queries), Similarity(vectors, keys, scale)
        # candidates look for the known queries that they answer best: the other direction, the bank's side
        texts, shapes = (bank, self) if direction == "text_to_shape" else (self, bank)
        back = OPPOSITE[direction]
        scores = {
            "light": Sum(LightReranker(texts._light[0], shapes._light[1], back), coarse),
            "haf": Sum(HafReranker(self._model, texts._full[0], shapes._full[1], back), coarse),
        }
        return {
            name: MemoryTerms(
                recalled, vectors, ScoreHubness(score, vectors, pairs, leave_out=own), scale=scale
            )
            for name, score in scores.items()
        }


def compressed(
    model: AlignmentModel,
    head: LightHead,
    pieces: Iterable[PointHierarchy],
    count: int,
    device: torch.device,
    precision: Precision = "int8",
) -> tuple[LightShapes, CompactShapes]:
    """Compressed gallery that re-rankers keep, made piece by piece: nothing else of it need fit in memory.

    Args:
        model: A trained model.
        head: Its light re-ranker.
        pieces: The gallery in order.
        count: Shapes in all pieces.
        device: Of the model.
        precision: Of HAF's features.
    """
    light: dict[str, NDArray[Any]] = {}
    full: dict[str, NDArray[Any]] = {}
    at = 0
    for piece in pieces:
        tensors = {name: tensor for name, tensor in vars(piece).items() if tensor is not None}
        piece = PointHierarchy(**{name: tensor.to(device) for name, tensor in tensors.items()})
        _fill(light, head.compress_shapes(piece), at, count)
        _fill(full, compact_shapes(model.haf, piece, precision), at, count)
        at += len(piece.embedding)
    kept = {name: torch.from_numpy(values).to(device) for name, values in full.items()}
    return LightShapes(**light), CompactShapes(**kept)


def _fill(whole: dict[str, NDArray[Any]], piece: LightShapes | CompactShapes, at: int, count: int) -> None:
    """Copies the fields of a piece to their rows, which the first piece makes."""
    for field in dataclasses.fields(piece):
        values = getattr(piece, field.name)
        rows = values.cpu().numpy() if isinstance(values, Tensor) else values
        if field.name not in whole:
            whole[field.name] = np.empty((count, *rows.shape[1:]), rows.dtype)
        whole[field.name][at : at + len(rows)] = rows
