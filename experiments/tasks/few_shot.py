"""Few-shot classification on frozen embeddings: a linear probe and the nearest prototype.

The probe is scikit-learn's logistic regression (L2, C = 1) on embeddings of unit length; a prototype is the
mean of a class's embeddings, and the nearest by cosine is the answer. Supports are drawn several times, or
given as folds, as the 5- and 10-way folds of Point-BERT. Draws and shapes are resampled together.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from experiments.tasks.measured import BOOTSTRAP, Bootstrap, Measured, Values, interval
from experiments.tasks.prompts import unit

Method = Literal["linear probe", "nearest prototype"]
METHODS: tuple[Method, ...] = ("linear probe", "nearest prototype")
SHOTS = (1, 2, 4, 8, 16)
DRAWS = 10
_ITERATIONS = 1_000


@dataclass(frozen=True)
class Fold:
    """One support and its queries.

    Attributes:
        support: ``[S, D]`` embeddings, and
        support_labels: ``[S]`` their classes.
        queries: ``[Q, D]`` embeddings, and
        query_labels: ``[Q]`` their classes.
    """

    support: NDArray[np.floating]
    support_labels: NDArray[np.int64]
    queries: NDArray[np.floating]
    query_labels: NDArray[np.int64]


@dataclass(frozen=True)
class FewShot:
    """Accuracy of one method.

    Attributes:
        method: How the support is used.
        accuracy: Mean over the draws.
        spread: Standard deviation (n - 1) over the draws, as published; None of a single draw.
        classes: Classes to tell apart.
    """

    method: Method
    accuracy: Measured
    spread: float | None
    classes: int


def classify(
    method: Method,
    support: NDArray[np.floating],
    labels: NDArray[np.int64],
    queries: NDArray[np.floating],
) -> NDArray[np.int64]:
    """The class of each query ``[Q, D]`` by a support ``[S, D]`` with labels ``[S]``: ``[Q]``.

    Raises:
        ValueError: The support has fewer than two classes.
    """
    known, places = np.unique(labels, return_inverse=True)
    if len(known) < 2:
        raise ValueError(f"{len(known)} classes in the support: expected at least two")
    shown, asked = unit(support), unit(queries)
    if method == "linear probe":
        with warnings.catch_warnings():  # of one shot scikit-learn thinks that labels might be numbers
            warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
            return LogisticRegression(max_iter=_ITERATIONS).fit(shown, labels).predict(asked)
    sums = np.zeros((len(known), shown.shape[1]))
    np.add.at(sums, places, shown)
    return known[(asked @ unit(sums).T).argmax(axis=1)]


def few_shot(
    vectors: NDArray[np.floating],
    labels: NDArray[np.int64],
    shots: int,
    draws: int = DRAWS,
    seed: int = 0,
    bootstrap: Bootstrap = BOOTSTRAP,
) -> tuple[FewShot, ...]:
    """Measures both methods; what is not in the support is a query.

    Args:
        vectors: ``[N, D]``.
        labels: ``[N]``.
        shots: Shapes of each class in the support; classes with no more than these are left out.
        draws: Supports that are drawn.
        seed: Of them.
        bootstrap: Over shapes and draws.

    Raises:
        ValueError: Fewer than two classes are large enough.
    """
    known, places, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    large = np.flatnonzero(sizes > shots)
    if len(large) < 2:
        raise ValueError(f"shots={shots}: {len(large)} classes have more shapes, expected at least two")
    rows = np.flatnonzero(np.isin(places, large))
    own, owners = vectors[rows], labels[rows]
    generator = np.random.default_rng([seed, shots])
    right = {method: np.zeros((draws, len(rows))) for method in METHODS}
    asked = np.ones((draws, len(rows)), dtype=bool)
    for draw in range(draws):
        for place in known[large]:
            members = np.flatnonzero(owners == place)
            asked[draw, generator.choice(members, shots, replace=False)] = False
        queries = asked[draw]
        for method, found in right.items():
            answers = classify(method, own[~queries], owners[~queries], own[queries])
            found[draw, queries] = answers == owners[queries]
    return tuple(_result(method, right[method], asked, len(large), shots, bootstrap) for method in METHODS)


def few_shot_folds(folds: Sequence[Fold], bootstrap: Bootstrap = BOOTSTRAP) -> tuple[FewShot, ...]:
    """Measures both methods on given folds, each with queries of its own.

    Raises:
        ValueError: There are no folds, one has no queries or fewer than two classes, or folds differ in shots
            or classes.
    """
    sizes = [np.unique(fold.support_labels, return_counts=True)[1].tolist() for fold in folds]
    kinds = {(len(own), shots) for own in sizes for shots in own}
    if len(kinds) != 1:
        raise ValueError(f"folds of {sorted(kinds)} classes and shots: expected one kind of fold")
    ((classes, shots),) = kinds
    ends = np.cumsum([0, *(len(fold.queries) for fold in folds)])
    if (np.diff(ends) == 0).any():
        raise ValueError("a fold has no queries")
    asked = np.zeros((len(folds), ends[-1]), dtype=bool)
    right = {method: np.zeros(asked.shape) for method in METHODS}
    for place, fold in enumerate(folds):
        queries = slice(ends[place], ends[place + 1])
        asked[place, queries] = True
        for method, found in right.items():
            answers = classify(method, fold.support, fold.support_labels, fold.queries)
            found[place, queries] = answers == fold.query_labels
    return tuple(_result(method, right[method], asked, classes, shots, bootstrap) for method in METHODS)


def _result(
    method: Method,
    right: Values,
    asked: NDArray[np.bool_],
    classes: int,
    shots: int,
    bootstrap: Bootstrap,
) -> FewShot:
    """The accuracy of draws ``[D, N]``; only what was asked counts."""
    by_draw = right.sum(axis=1) / asked.sum(axis=1)
    draws, counted = len(right), asked.astype(np.float64)
    chosen = np.random.default_rng([bootstrap.seed, draws])
    drawn = []
    for weights in bootstrap.weights(right.shape[1]):
        with np.errstate(invalid="ignore"):
            means = (weights @ right.T) / (weights @ counted.T)  # [R, D]
        times = chosen.multinomial(draws, np.full(draws, 1 / draws), size=len(weights))
        drawn.append(np.where(times, times * means, 0.0).sum(axis=1) / draws)
    name = f"{classes}-way {shots}-shot"
    low, high = interval(np.concatenate(drawn))
    return FewShot(
        method,
        Measured(name, float(by_draw.mean()), low, high, int(asked.any(axis=0).sum())),
        float(by_draw.std(ddof=1)) if draws > 1 else None,
        classes,
    )
