"""Filter of captions that fit other shapes better than their own, by the scores of a trained run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray
from torch import Tensor

from align3d.captions import normalize_caption
from align3d.console.progress import Tracker
from align3d.decisions import Decision
from align3d.filters import Remaining
from align3d.hashing import hash_code, hash_json
from experiments.data.corpus import Corpus
from experiments.data.encoding import frozen
from experiments.dataset_filters.judging_run import JudgingRun
from experiments.evaluation.gallery import Gallery, encode_split
from models import AlignmentModel

_AT_ONCE = 16
"""Captions that are scored at once."""


class PairAlignment:
    """Captions that many other shapes fit better than their own, by the scores of a trained run's HAF.

    Shapes that the run was trained on fit their captions whatever these say: judge by a run that has not seen
    them.

    Args:
        run: Folder of a finished run, whose model judges.
        beaten: Share of other shapes with a higher score from which a caption goes.
        others: Other shapes that a caption is held against, drawn by their content.
    """

    name: ClassVar[str] = "alignment"

    def __init__(
        self, run: Path, beaten: Annotated[float, Gt(0), Le(1)] = 0.5, others: Annotated[int, Ge(1)] = 63
    ) -> None:
        self.run = JudgingRun(run, f"filters.{self.name}.run")
        self.beaten, self.others = beaten, others

    def fingerprint(self) -> str:
        """Sha256 of the settings, the code and the run's checkpoint."""
        return hash_json([self.name, self.beaten, self.others, hash_code(__name__), self.run.fingerprint()])

    def decide(self, remaining: Remaining, *, progress: bool = True) -> Iterator[Decision]:
        """Drop captions that do not fit, with how many other shapes fit better."""
        dataset, rows = remaining.dataset, remaining.rows
        if len(rows) < 2:
            return
        found = self.scores(remaining, progress=progress)
        for row, captions in zip(rows.tolist(), remaining.captions, strict=True):
            for text in captions:
                better, others = found.get((row, normalize_caption(text)), (0, 0))
                if others and better >= self.beaten * others:
                    reason = f"alignment: {better} of {others} other shapes fit better"
                    content = dataset.content_hashes[row]
                    yield Decision(
                        dataset.ids[row], "drop_caption", reason, self.name, text, item_hash=content
                    )

    def scores(self, remaining: Remaining, *, progress: bool) -> dict[tuple[int, str], tuple[int, int]]:
        """Number of other shapes with a higher score, and of all that were looked at.

        Returns:
            By row and normal form of the caption.
        """
        corpus, trained = self.run.corpus(remaining.dataset), self.run.trained
        order = sorted(
            remaining.rows.tolist(), key=lambda row: _rank(remaining.dataset.content_hashes[row], row)
        )
        blocks = np.array_split(np.array(order), -(-len(order) // (self.others + 1)))
        found: dict[tuple[int, str], tuple[int, int]] = {}
        with Tracker("alignment", len(order), "shapes", patience=2.0, enabled=progress) as tracker:
            for block in blocks:
                found |= _block_scores(trained.model, corpus, np.sort(block), self.run.device)
                tracker.advance(len(block))
        return found


def _block_scores(
    model: AlignmentModel, corpus: Corpus, rows: NDArray[np.int64], device: torch.device
) -> dict[tuple[int, str], tuple[int, int]]:
    """Every caption of some shapes against all of them."""
    indices = torch.from_numpy(rows)
    gallery = encode_split(model, corpus, indices, device)
    scores = _all_scores(model, gallery).cpu()  # [Q, M]
    texts = [normalize_caption(corpus.captions[text]) for text in corpus.unique_texts(indices).tolist()]
    own = gallery.positives.cpu()
    found = {}
    for text, place in own.nonzero().tolist():
        others = ~own[text]  # whoever has the same caption is no other shape
        better = int((scores[text][others] > scores[text, place]).sum())
        found[int(rows[place]), texts[text]] = (better, int(others.sum()))
    return found


def _all_scores(model: AlignmentModel, gallery: Gallery) -> Tensor:
    """HAF's scores ``[Q, M]`` of all captions and shapes of a small gallery."""
    captions, shapes = gallery.similarity.shape
    device = gallery.similarity.device
    parts = []
    with frozen(model):
        for texts in torch.arange(captions, device=device).split(_AT_ONCE):
            every = torch.arange(shapes, device=device).expand(len(texts), shapes)
            parts.append(model.haf.fuse(gallery.attend(model, texts, every, library=False)).score)
    return torch.cat(parts)


def _rank(content: str, row: int) -> tuple[str, int]:
    return hashlib.sha256(f"alignment{content}".encode()).hexdigest(), row
