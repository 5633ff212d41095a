"""Retrieval on a split: exact search and HAF re-ranking, each as it is and with a memory, and with the agent.

The search is on global embeddings; its first candidates are re-ranked; the agent sees no label here.
Text to shape: the first caption of each shape is a query, the split's shapes are the gallery. Shape to text:
each shape is a query, the split's unique captions are the gallery. All shapes with the same normalized
caption are right answers for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from experiments.run_folder.names import BASELINE, CEILING, FINAL, FIXED, MEMORY, RERANKED
from retrieval import summarize

if TYPE_CHECKING:
    from experiments.evaluation.directions import Direction
    from experiments.evaluation.fixed_strengths import Choice
    from experiments.evaluation.gallery import Stage

Metrics = dict[str, float]

FIXED_ROWS: tuple[tuple[str, Stage], ...] = ((MEMORY, "search"), (FIXED, "rerank"))


def evaluate(
    directions: Mapping[str, Direction], strengths: Choice | None = None, *, calibrated: bool = False
) -> dict[str, Metrics]:
    """Measures retrieval.

    Args:
        directions: Both directions of a gallery.
        strengths: The same for all queries, for the rows of the memory; None leaves these out.
        calibrated: Whether an agent has calibrated.

    Returns:
        Metrics such as ``text_to_shape/recall@1`` of ``baseline`` and ``reranked``, as they are; ``memory``
        and ``fixed``, the same with a memory; ``final``, HAF as the agent calibrated it; ``ceiling``, a
        perfect re-ranking of the candidates.
    """
    results: dict[str, Metrics] = {}
    for name, direction in directions.items():
        known = direction.known
        _add(results, BASELINE, name, known)
        _add(results, RERANKED, name, direction.ranks("rerank"))
        if strengths is not None:
            for row, stage in FIXED_ROWS:
                chosen = strengths[stage, name]
                _add(results, row, name, direction.ranks(stage, chosen.recall, chosen.hubness))
        if calibrated:
            _add(results, FINAL, name, direction.calibrated())
        _add(results, CEILING, name, np.where(direction.right.numpy().any(1), 1, known))
    return results


def _add(results: dict[str, Metrics], name: str, direction: str, ranks: np.ndarray) -> None:
    metrics = results.setdefault(name, {})
    metrics |= {f"{direction}/{key}": value for key, value in summarize(ranks).items()}
