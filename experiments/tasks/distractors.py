"""Retrieval among distractors: the same queries in galleries that grow, each holding the smaller ones."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.tasks.measured import BOOTSTRAP, Bootstrap, Measured, measure_means
from experiments.tasks.prompts import unit
from experiments.tasks.searched import NEAREST, Ids, ers_ids, recall_of_exact
from retrieval.metrics import ranks_from_ids

BLOCK = 2**22
"""Scores that are held at a time."""
RECALLS = (1, 5, 10)
ROWS = 65_536
"""Vectors that are brought to unit length at a time."""


@dataclass(frozen=True)
class Ranked:
    """Exact search in one gallery.

    Attributes:
        ranks: ``[Q]`` of the best right items, from 1; ties count against us.
        nearest: ``[Q, k]`` the items of most likeness, best first, ``k`` at most `NEAREST`: places in the
            gallery, whose distractors stand behind its own items.
    """

    ranks: NDArray[np.int64]
    nearest: Ids


def ranks_among(
    queries: NDArray[np.floating],
    gallery: NDArray[np.floating],
    positives: NDArray[np.bool_],
    distractors: NDArray[np.floating],
    sizes: Sequence[int],
    advance: Callable[[int], None] = lambda _: None,
) -> list[Ranked]:
    """Exact search by cosine in galleries of several sizes, in one pass over the distractors.

    Args:
        queries: ``[Q, D]``.
        gallery: ``[N, D]`` items that are in each gallery.
        positives: ``[Q, N]`` bool, at least one per query.
        distractors: ``[M, D]`` wrong items, read in slices, so that they may lie in a file; a gallery has
            the first of them.
        sizes: Sizes of the galleries, N to N + M, ascending.
        advance: Called with the number of distractors after each slice.

    Returns:
        One for each size.

    Raises:
        ValueError: A size is out of range, they do not ascend, or a query has no right item.
    """
    count, most = len(gallery), len(gallery) + len(distractors)
    if list(sizes) != sorted(set(sizes)) or not sizes or not count <= sizes[0] <= sizes[-1] <= most:
        raise ValueError(f"sizes={list(sizes)}: expected ascending sizes from {count} to {most}")
    if positives.shape != (len(queries), count) or not positives.any(axis=1).all():
        raise ValueError(f"positives {positives.shape}: expected [Q, N] with a right item in each row")
    asked = unit(queries)
    scores = asked @ unit(gallery).T
    best = np.where(positives, scores, -np.inf).max(axis=1)
    ahead = (~positives & (scores >= best[:, None])).sum(axis=1)
    nearest, place = _Nearest(len(queries)), 0
    nearest.add(scores, 0)
    found = []
    step = max(1, BLOCK // max(1, len(queries)))
    for size in sizes:
        while place < size - count:
            end = min(place + step, size - count)
            scores = asked @ unit(distractors[place:end]).T
            ahead = ahead + (scores >= best[:, None]).sum(axis=1)
            nearest.add(scores, count + place)
            advance(end - place)
            place = end
        found.append(Ranked(ahead + 1, nearest.ids.copy()))
    return found


class _Nearest:
    """The items of most likeness to queries ``[Q]``, of all that were added."""

    def __init__(self, queries: int) -> None:
        self.ids = np.empty((queries, 0), np.int64)
        self._scores = np.empty((queries, 0))

    def add(self, scores: NDArray[np.floating], first: int) -> None:
        """Items with scores ``[Q, n]``, numbered from ``first``."""
        if scores.shape[1] > NEAREST:
            places = np.argpartition(-scores, NEAREST - 1, axis=1)[:, :NEAREST]
        else:
            places = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
        ids = np.concatenate([self.ids, places + first], axis=1)
        values = np.concatenate([self._scores, np.take_along_axis(scores, places, axis=1)], axis=1)
        order = np.argsort(-values, axis=1, kind="stable")[:, :NEAREST]
        self.ids, self._scores = (np.take_along_axis(own, order, axis=1) for own in (ids, values))


def among_distractors(
    queries: NDArray[np.floating],
    gallery: NDArray[np.floating],
    positives: NDArray[np.bool_],
    distractors: NDArray[np.floating],
    sizes: Sequence[int],
    bootstrap: Bootstrap = BOOTSTRAP,
    clusters: NDArray[np.int64] | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, dict[int, tuple[Measured, ...]]]:
    """Measures R@1, R@5 and R@10 of exact search and of ERS by the size of the gallery.

    Exact search has MRR besides, ERS its recall of exact search's first ten.

    Args:
        queries: ``[Q, D]``.
        gallery: ``[N, D]``.
        positives: ``[Q, N]``.
        distractors: ``[M, D]``, see `ranks_among`.
        sizes: Sizes of the galleries.
        bootstrap: Over queries, or what they belong to.
        clusters: ``[Q]``, see `experiments.tasks.measured.measure`.
        advance: Called with the number of distractors that were compared, then with each size that ERS has
            searched.

    Returns:
        Measurements by size, of ``KNN`` and of ``ERS``.
    """
    exact = ranks_among(queries, gallery, positives, distractors, sizes, advance)
    right = [np.flatnonzero(row) for row in positives]
    found: dict[str, dict[int, tuple[Measured, ...]]] = {"KNN": {}, "ERS": {}}
    with tempfile.TemporaryFile() as file:
        shape = (sizes[-1], gallery.shape[1])
        vectors = np.memmap(file, np.float32, "w+", shape=shape)  # what ERS keeps and does not copy
        for start in range(0, len(gallery), ROWS):
            vectors[start : min(start + ROWS, len(gallery))] = unit(gallery[start : start + ROWS])
        for start in range(len(gallery), sizes[-1], ROWS):
            end = min(start + ROWS, sizes[-1])
            vectors[start:end] = unit(distractors[start - len(gallery) : end - len(gallery)])
        for size, own in zip(sizes, exact, strict=True):
            ids = ers_ids(queries, vectors[:size])
            advance(size)
            hits = _recalls(ranks_from_ids(ids, right))
            found["KNN"][size] = measure_means(
                _recalls(own.ranks) | {"MRR": 1.0 / own.ranks}, bootstrap, clusters
            )
            recall = recall_of_exact(ids, own.nearest, bootstrap, clusters)
            found["ERS"][size] = (*measure_means(hits, bootstrap, clusters), recall)
    return found


def _recalls(ranks: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    return {f"R@{k}": ranks <= k for k in RECALLS}
