"""Retrieval among distractors: the same queries in galleries that grow, each holding the smaller ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from experiments.tasks.measured import BOOTSTRAP, Bootstrap, Measured, measure_means
from experiments.tasks.prompts import unit

BLOCK = 2**22
"""Scores that are held at a time."""
RECALLS = (1, 5, 10)


def ranks_among(
    queries: NDArray[np.floating],
    gallery: NDArray[np.floating],
    positives: NDArray[np.bool_],
    distractors: NDArray[np.floating],
    sizes: Sequence[int],
) -> NDArray[np.int64]:
    """Ranks of the best right items by cosine in galleries of several sizes; ties count against us.

    Args:
        queries: ``[Q, D]``.
        gallery: ``[N, D]`` items that are in each gallery.
        positives: ``[Q, N]`` bool, at least one a query.
        distractors: ``[M, D]`` wrong items; a gallery has the first of them.
        sizes: Sizes of the galleries, N to N + M, ascending.

    Returns:
        ``[sizes, Q]`` from 1.

    Raises:
        ValueError: A size is out of range, they do not ascend, or a query has no right item.
    """
    count, most = len(gallery), len(gallery) + len(distractors)
    if list(sizes) != sorted(set(sizes)) or not sizes or not count <= sizes[0] <= sizes[-1] <= most:
        raise ValueError(f"sizes={list(sizes)}: expected ascending sizes from {count} to {most}")
    if positives.shape != (len(queries), count) or not positives.any(axis=1).all():
        raise ValueError(f"positives {positives.shape}: expected [Q, N] with a right item in each row")
    asked, base = unit(queries), unit(gallery)
    scores = asked @ base.T
    best = np.where(positives, scores, -np.inf).max(axis=1)
    ahead = (~positives & (scores >= best[:, None])).sum(axis=1)
    ranks, place = [], 0
    step = max(1, BLOCK // max(1, len(queries)))
    for size in sizes:
        while place < size - count:
            end = min(place + step, size - count)
            ahead = ahead + (asked @ unit(distractors[place:end]).T >= best[:, None]).sum(axis=1)
            place = end
        ranks.append(ahead + 1)
    return np.stack(ranks)


def among_distractors(
    queries: NDArray[np.floating],
    gallery: NDArray[np.floating],
    positives: NDArray[np.bool_],
    distractors: NDArray[np.floating],
    sizes: Sequence[int],
    bootstrap: Bootstrap = BOOTSTRAP,
    clusters: NDArray[np.int64] | None = None,
) -> dict[int, tuple[Measured, ...]]:
    """Measures R@1, R@5, R@10 and MRR by the size of the gallery; see `ranks_among`.

    Args:
        queries: ``[Q, D]``.
        gallery: ``[N, D]``.
        positives: ``[Q, N]``.
        distractors: ``[M, D]``.
        sizes: Sizes of the galleries.
        bootstrap: Over queries, or what they belong to.
        clusters: ``[Q]``, see `experiments.tasks.measured.measure`.
    """
    ranks = ranks_among(queries, gallery, positives, distractors, sizes)
    return {
        size: measure_means({f"R@{k}": own <= k for k in RECALLS} | {"MRR": 1.0 / own}, bootstrap, clusters)
        for size, own in zip(sizes, ranks, strict=True)
    }
