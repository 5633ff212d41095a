"""Open-set recognition: how well the best score tells shapes of known classes from those of unknown ones.

The classifier knows some of the classes. A shape of another one should get no high score from any of them:
AUROC is the probability that a known shape scores higher than an unknown one, FPR95 the share of unknown
shapes that pass where 95 % of the known ones do (Hendrycks and Gimpel, 2017).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from experiments.tasks.measured import BOOTSTRAP, Bootstrap, Measured, Statistic, Values, measure

PASSING = 0.95
"""Share of the known shapes that pass."""
_ROUNDING = 1e-9


def unknown_classes(classes: int, share: float, seed: int) -> NDArray[np.bool_]:
    """Which of the classes are unknown, ``[C]``: a drawn share of them, at least one and not all.

    Raises:
        ValueError: There are fewer than two classes.
    """
    if classes < 2:
        raise ValueError(f"{classes} classes: expected at least two, one known and one unknown")
    unknown = np.zeros(classes, dtype=bool)
    count = min(max(1, round(share * classes)), classes - 1)
    unknown[np.random.default_rng(seed).permutation(classes)[:count]] = True
    return unknown


def open_set(
    scores: NDArray[np.floating], known: NDArray[np.bool_], bootstrap: Bootstrap = BOOTSTRAP
) -> tuple[Measured, ...]:
    """Measures ``AUROC`` and ``FPR95``.

    Args:
        scores: ``[N]`` the best score that any known class gives each shape.
        known: ``[N]`` whether the shape's class is known.
        bootstrap: Over shapes; a resample without known or without unknown shapes is left out.

    Raises:
        ValueError: The lengths differ, a score is NaN, or there are no known or no unknown shapes.
    """
    scores, known = np.asarray(scores), np.asarray(known, dtype=bool)
    if scores.ndim != 1 or scores.shape != known.shape:
        raise ValueError(f"scores {scores.shape} and known {known.shape}: expected one shape [N]")
    if np.isnan(scores).any():
        raise ValueError("a score is NaN: the model diverged")
    if known.all() or not known.any():
        raise ValueError(f"{int(known.sum())} of {len(known)} shapes are known: expected some of each kind")
    return measure(["AUROC", "FPR95"], _separation(scores, known), len(scores), bootstrap)


def _separation(scores: NDArray[np.floating], known: NDArray[np.bool_]) -> Statistic:
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))  # of those with equal scores

    def separation(weights: Values) -> Values:
        drawn = weights[:, order]
        passed = [
            np.pad(np.cumsum(drawn * own[order], axis=1)[:, last], ((0, 0), (1, 0)))
            for own in (known, ~known)
        ]
        with np.errstate(invalid="ignore", divide="ignore"):
            true, false = (counts / counts[:, -1:] for counts in passed)  # [R, groups + 1]
        area = (np.diff(false, axis=1) * (true[:, 1:] + true[:, :-1]) / 2).sum(axis=1)
        at = (true >= PASSING - _ROUNDING).argmax(axis=1)
        return np.stack([area, false[np.arange(len(false)), at]], axis=1)

    return separation
