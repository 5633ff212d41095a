"""Filter of shapes that a trained run's encoder hardly tells from an earlier one, found by ERS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray

from align3d.decisions import Decision
from align3d.filters import Remaining
from align3d.filters.duplicate_shapes import numbers_of
from align3d.hashing import hash_code, hash_json
from experiments.dataset_filters.judging_run import JudgingRun
from retrieval import ErsIndex


class NearDuplicates:
    """Shapes whose embedding by a trained run is that of an earlier one, or nearly.

    Args:
        run: Folder of a finished run, whose shape encoder judges.
        cosine: Cosine of two embeddings from which they are of one shape.
        neighbors: Nearest shapes that are looked at for each.
        numbers: Whether shapes are different whose captions name different numbers.
    """

    name: ClassVar[str] = "near_duplicates"

    def __init__(
        self,
        run: Path,
        cosine: Annotated[float, Gt(0), Le(1)] = 0.99,
        neighbors: Annotated[int, Ge(1)] = 16,
        numbers: bool = True,
    ) -> None:
        self.run = JudgingRun(run, f"filters.{self.name}.run")
        self.cosine, self.neighbors, self.numbers = cosine, neighbors, numbers

    def fingerprint(self) -> str:
        """Sha256 of the settings, the code and the run's checkpoint."""
        settings = [self.cosine, self.neighbors, self.numbers]
        return hash_json([self.name, settings, hash_code(__name__), self.run.fingerprint()])

    def decide(self, remaining: Remaining, *, progress: bool = True) -> Iterator[Decision]:
        """Reject every shape that has a near-duplicate before it that stays."""
        rows = remaining.rows
        if len(rows) < 2:
            return
        vectors = self.run.embeddings(remaining.dataset, torch.from_numpy(rows), progress=progress).numpy()
        ids, cosines = nearest(vectors, self.neighbors + 1)
        said = [numbers_of(texts) for texts in remaining.captions]
        gone: set[int] = set()
        for place, row in enumerate(rows.tolist()):
            for other, cosine in zip(ids[place].tolist(), cosines[place].tolist(), strict=True):
                if cosine < self.cosine:
                    break
                if other >= place or other in gone:
                    continue
                if self.numbers and not (said[place] <= said[other] or said[other] <= said[place]):
                    continue
                gone.add(place)
                first = remaining.dataset.ids[int(rows[other])]
                yield remaining.reject(row, f"near duplicate: of {first}, cosine {cosine:.4f}", self.name)
                break


def nearest(vectors: NDArray[np.float32], count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Places of the nearest vectors of each, itself among them, and their cosines, best first.

    Args:
        vectors: ``[n, E]``.
        count: How many, k; at most n are found.

    Returns:
        i64 ``[n, k]`` and f32 ``[n, k]``.
    """
    index = ErsIndex(metric="cosine")
    index.build(np.ascontiguousarray(vectors), np.arange(len(vectors), dtype=np.int64))
    return index.search(vectors, min(count, len(vectors)))
