"""Episodes from texts and shapes: each text beside its true shapes and the model's own nearest wrong ones.

Which split they are of (train, reward, ...) is for the caller to choose. Rewards teach little on texts that
HAF was trained on, as it ranks nearly all of their true shapes first already.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from envs.attention.evaluator import without_dropout
from models import AlignmentModel, AttentionState, Library, PointHierarchy, TextEmbedding

if TYPE_CHECKING:
    from envs.episode import Episode
    from envs.functional import CalibrationCore

CHUNK_PAIRS = 1024


class HardNegativeEpisodes:
    """Source of episodes over encoded texts and shapes, drawn with replacement.

    Args:
        core: The decision process, around the model's HAF.
        model: The alignment model, which stays as it is while this is used.
        text: Encoded texts, ``Q`` of them.
        shapes: Encoded gallery of ``M`` shapes.
        positives: Right answers, bool ``[Q, M]``.
        candidates: Number of candidates of an episode, ``C``; ``M`` if the gallery has fewer.
        shortlist: Number of shapes, nearest by global embeddings, from which HAF chooses the candidates;
            None leaves the choice to the embeddings.
        keep_true: Whether a right answer is always among the candidates, if there is one at all.
        library: What a memory of other pairs says of the gallery; without one there is nothing to recall.

    Attributes:
        candidates: Candidates of every text, i64 ``[Q, C]``, nearest first.

    Raises:
        ValueError: Numbers out of range, positives of another shape, or a library of another gallery.
    """

    def __init__(
        self,
        core: CalibrationCore,
        model: AlignmentModel,
        text: TextEmbedding,
        shapes: PointHierarchy,
        positives: Tensor,
        candidates: int,
        *,
        shortlist: int | None = None,
        keep_true: bool = True,
        library: Library | None = None,
    ) -> None:
        queries, size = len(text.embedding), len(shapes.embedding)
        if positives.shape != (queries, size) or positives.dtype != torch.bool:
            raise ValueError(
                f"positives: expected torch.bool [{queries}, {size}], texts x shapes, got {positives.dtype} "
                f"{list(positives.shape)}"
            )
        if candidates < 1:
            raise ValueError(f"candidates={candidates}: must be 1 or more")
        if shortlist is not None and shortlist < candidates:
            raise ValueError(
                f"shortlist={shortlist}: must be at least candidates={candidates}, which are chosen from it; "
                "None leaves the choice to the embeddings"
            )
        if library is not None and len(library.shapes) != size:
            raise ValueError(f"library: of {len(library.shapes)} shapes, expected one of these {size}")
        self.core, self.model = core, model
        self.text, self.shapes, self.positives, self.library = text, shapes, positives, library
        self._keys_values: tuple[Tensor, Tensor] | None = None
        similarity = text.embedding @ shapes.embedding.T  # [Q, M]
        self.candidates = mine_hard_negatives(
            similarity, positives, min(shortlist or candidates, size), keep_true
        )
        if shortlist is not None:
            score = self._score(self.candidates)
            places = mine_hard_negatives(
                score, positives.gather(1, self.candidates), min(candidates, size), keep_true
            )
            self.candidates = self.candidates.gather(1, places)

    def __len__(self) -> int:
        return len(self.candidates)

    def sample(self, count: int, generator: torch.Generator) -> Episode:
        """Draw ``count`` texts."""
        rows = torch.randint(len(self), (count,), generator=generator, device=generator.device)
        return self.take(rows.to(self.candidates.device))

    def only(self, rows: Tensor) -> HardNegativeEpisodes:
        """Some of the texts alone, i64 ``[n]``, with the same gallery and the same candidates."""
        part = copy.copy(self)
        part.text, part.positives = self.text.select(rows), self.positives[rows]
        part.candidates = self.candidates[rows]
        return part

    @torch.no_grad()
    def take(self, rows: Tensor) -> Episode:
        """The episodes of given texts, i64 ``[B]``."""
        candidates = self.candidates[rows]
        with without_dropout(self.model):
            return self.core.episode(
                self._attend(rows, candidates), self.positives[rows].gather(1, candidates)
            )

    def _attend(self, rows: Tensor, candidates: Tensor) -> AttentionState:
        """HAF's attention of texts over candidates; the gallery is projected once, at the first call."""
        if self._keys_values is None:
            self._keys_values = self.model.haf.project(self.shapes)
        text = self.text.select(rows)
        library = None
        if self.library is not None:
            library = self.library.evidence(text.embedding, candidates, self.model.logit_scale)
        return self.model.attend(
            text, self.shapes, candidates, keys_values=self._keys_values, library=library
        )

    @torch.no_grad()
    def _score(self, candidates: Tensor) -> Tensor:
        """HAF's scores of candidates, both ``[Q, C]``."""
        step = max(1, CHUNK_PAIRS // candidates.shape[1])
        parts = []
        with without_dropout(self.model):
            for rows in torch.arange(len(candidates), device=candidates.device).split(step):
                parts.append(self.model.haf.fuse(self._attend(rows, candidates[rows])).score)
        return torch.cat(parts) if parts else candidates.new_empty(candidates.shape, dtype=torch.float32)


def mine_hard_negatives(score: Tensor, positives: Tensor, count: int, keep_true: bool = True) -> Tensor:
    """The candidates that score best, i64 ``[Q, count]``, best first.

    Args:
        score: Score of every shape for every query, ``[Q, M]``.
        positives: Right answers, bool ``[Q, M]``.
        count: Number of candidates, at most ``M``.
        keep_true: Whether the best right answer takes the last place where none is among them.
    """
    chosen = score.topk(count, dim=1).indices
    if keep_true and count:
        lacks = positives.any(1) & ~positives.gather(1, chosen).any(1)
        best = score.masked_fill(~positives, -torch.inf).argmax(1)
        chosen[:, -1] = torch.where(lacks, best, chosen[:, -1])
    return chosen
