"""Robustness of a classifier: the mean corruption error against DGCNN, and what corruption costs.

As ModelNet-C (Ren et al., ICML 2022): the error rate under a corruption, averaged over its levels, by that
of DGCNN; the mean over the corruptions is mCE. DGCNN is at 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.tasks.measured import BOOTSTRAP, Bootstrap, Measured, Values, measure

DGCNN: Mapping[str, float] = {
    "scale": 0.906,
    "jitter": 0.684,
    "rotate": 0.785,
    "dropout_global": 0.752,
    "dropout_local": 0.793,
    "add_global": 0.705,
    "add_local": 0.725,
}
"""Overall accuracy of DGCNN on ModelNet-C, by corruption."""
DGCNN_CLEAN = 0.926


@dataclass(frozen=True)
class Robustness:
    """Result under corruptions.

    Attributes:
        overall: ``clean``, ``corrupted`` (the mean over the corruptions), ``drop`` from the one to the other,
            and ``mCE`` where every corruption of ModelNet-C is there.
        by_kind: ``CE scale`` and so on, of those that DGCNN was measured under.
        by_level: Accuracy at each level, ``scale:0`` and so on.
    """

    overall: tuple[Measured, ...]
    by_kind: tuple[Measured, ...]
    by_level: tuple[Measured, ...]


def robustness(
    clean: NDArray[np.bool_],
    corrupted: Mapping[str, Mapping[str, NDArray[np.bool_]]],
    bootstrap: Bootstrap = BOOTSTRAP,
) -> Robustness:
    """Measures robustness; a shape is drawn with all that was done to it.

    Args:
        clean: ``[N]`` whether each shape is classified rightly as it is.
        corrupted: The same under each corruption, by the name of its level, such as ``scale:0``.
        bootstrap: Over shapes.

    Raises:
        ValueError: There is no corruption, or it was measured on other shapes.
    """
    if not corrupted or not all(corrupted.values()):
        raise ValueError("no corrupted shapes: expected at least one corruption with one level")
    columns: dict[str, Values] = {"clean": np.asarray(clean, dtype=np.float64)}
    for levels in corrupted.values():
        for name, right in levels.items():
            if np.shape(right) != columns["clean"].shape:
                raise ValueError(f"{name} of {len(right)} shapes, clean {len(clean)}: expected one N")
            columns[name] = np.asarray(right, dtype=np.float64)
    stacked = np.stack(list(columns.values()), axis=1)
    at = {kind: [list(columns).index(name) for name in levels] for kind, levels in corrupted.items()}
    judged = [kind for kind in corrupted if kind in DGCNN]
    complete = set(DGCNN) <= set(corrupted)
    overall = ["clean", "corrupted", "drop", *(["mCE"] if complete else [])]

    def statistic(weights: Values) -> Values:
        means = (weights @ stacked) / weights.sum(axis=1, keepdims=True)  # [R, columns]
        kinds = {kind: means[:, places].mean(axis=1) for kind, places in at.items()}
        errors = {kind: (1 - kinds[kind]) / (1 - DGCNN[kind]) for kind in judged}
        mean = np.mean(list(kinds.values()), axis=0)
        whole = [means[:, 0], mean, means[:, 0] - mean]
        whole += [np.mean([errors[kind] for kind in DGCNN], axis=0)] if complete else []
        return np.stack([*whole, *errors.values(), *means[:, 1:].T], axis=1)

    names = [*overall, *(f"CE {kind}" for kind in judged), *list(columns)[1:]]
    found = measure(names, statistic, len(stacked), bootstrap)
    ends = len(overall), len(overall) + len(judged)
    return Robustness(found[: ends[0]], found[ends[0] : ends[1]], found[ends[1] :])
