"""Zero-shot classification by cosines with embeddings of classes: top-1/3/5 and the mean per class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from experiments.tasks.measured import (
    BOOTSTRAP,
    Bootstrap,
    Measured,
    Statistic,
    Values,
    exact_ends,
    measure,
    measure_means,
)
from experiments.tasks.prompts import unit

TOP = (1, 3, 5)


@dataclass(frozen=True)
class ZeroShot:
    """Result of a classification.

    Attributes:
        overall: ``top-1`` and so on over all shapes, and ``class mean``: the mean over the classes of their
            top-1.
        by_class: Top-1 of the shapes of each class that has some, named after it.
    """

    overall: tuple[Measured, ...]
    by_class: tuple[Measured, ...]


def class_scores(shapes: NDArray[np.floating], classes: NDArray[np.floating]) -> NDArray[np.float64]:
    """Cosines ``[N, C]`` of shapes ``[N, D]`` with classes ``[C, D]``."""
    return unit(shapes) @ unit(classes).T


def class_ranks(scores: NDArray[np.floating], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rank of each shape's own class, ``[N]`` from 1; ties count against us.

    Args:
        scores: ``[N, C]``.
        labels: ``[N]`` from 0.

    Raises:
        ValueError: There is not one label per shape, a label has no class, or a score is NaN.
    """
    if scores.ndim != 2 or labels.shape != (len(scores),):
        raise ValueError(f"scores {scores.shape} and labels {labels.shape}: expected [N, C] and [N]")
    if len(labels) and not 0 <= labels.min() <= labels.max() < scores.shape[1]:
        raise ValueError(f"labels {labels.min()}..{labels.max()} of {scores.shape[1]} classes")
    if np.isnan(scores).any():
        raise ValueError("a score is NaN: the model diverged")
    own = scores[np.arange(len(scores)), labels]
    return (scores >= own[:, None]).sum(axis=1)


def zero_shot(
    scores: NDArray[np.floating],
    labels: NDArray[np.int64],
    names: Sequence[str],
    bootstrap: Bootstrap = BOOTSTRAP,
) -> ZeroShot:
    """Measures a classification.

    Args:
        scores: ``[N, C]``, higher is better.
        labels: ``[N]`` from 0.
        names: C.
        bootstrap: Over shapes; a class that a resample lacks is left out of its mean.

    Raises:
        ValueError: As `class_ranks`, there are no shapes, or not one name a class.
    """
    if len(names) != scores.shape[1]:
        raise ValueError(f"{len(names)} names of {scores.shape[1]} classes: expected one each")
    ranks = class_ranks(scores, labels)
    top = measure_means({f"top-{k}": ranks <= k for k in TOP}, bootstrap)
    right = ranks == 1
    (mean,) = measure(["class mean"], _class_mean(right, labels, len(names)), len(labels), bootstrap)
    if right.all() or not right.any():
        mean = exact_ends(mean, len(labels))
    by_class = tuple(
        own
        for place in np.unique(labels)
        for own in measure_means({names[place]: right[labels == place]}, bootstrap)
    )
    return ZeroShot((*top, mean), by_class)


def _class_mean(right: NDArray[np.bool_], labels: NDArray[np.int64], classes: int) -> Statistic:
    rows = np.arange(len(labels))
    member = csr_array((np.ones(len(labels)), (labels, rows)), shape=(classes, len(labels)))
    hit = csr_array((right.astype(np.float64), (labels, rows)), shape=(classes, len(labels)))

    def class_mean(weights: Values) -> Values:
        shapes = member @ weights.T  # [C, R]
        with np.errstate(invalid="ignore"):
            recall = (hit @ weights.T) / shapes
        return np.nanmean(recall, axis=0)[:, None]

    return class_mean
