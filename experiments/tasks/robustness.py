"""Robustness of a classifier: the mean corruption error against DGCNN, and what corruption costs.

As ModelNet-C (Ren et al., ICML 2022): the error rate under a corruption, averaged over its levels, by that
of DGCNN; the mean over the corruptions is mCE. The fall from clean, by that of DGCNN, is the relative error;
its mean is RmCE. DGCNN is at 1 in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

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
KINDS = ("top-1", "drop")
"""What is measured of each corruption."""


@dataclass(frozen=True)
class Robustness:
    """Result under corruptions.

    Attributes:
        overall: ``clean``, ``corrupted`` (the mean over the corruptions), ``drop`` from the one to the other,
            and ``mCE`` and ``RmCE`` where every corruption of ModelNet-C is there; all four are then of
            these alone, as published.
        by_kind: Of each corruption ``top-1``, the mean over its levels, and the ``drop`` from clean.
        errors: ``CE scale`` and so on, of those that DGCNN was measured under.
        by_level: Accuracy at each level, ``scale:0`` and so on.
    """

    overall: tuple[Measured, ...]
    by_kind: Mapping[str, tuple[Measured, ...]]
    errors: tuple[Measured, ...]
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
    counted = list(DGCNN) if complete else list(corrupted)
    overall = ["clean", "corrupted", "drop", *(["mCE", "RmCE"] if complete else [])]

    def statistic(weights: Values) -> Values:
        means = (weights @ stacked) / weights.sum(axis=1, keepdims=True)  # [R, columns]
        kinds = {kind: means[:, places].mean(axis=1) for kind, places in at.items()}
        drops = {kind: means[:, 0] - own for kind, own in kinds.items()}
        errors = {kind: (1 - kinds[kind]) / (1 - DGCNN[kind]) for kind in judged}
        mean = np.mean([kinds[kind] for kind in counted], axis=0)
        whole = [means[:, 0], mean, means[:, 0] - mean]
        if complete:
            relative = [drops[kind] / (DGCNN_CLEAN - DGCNN[kind]) for kind in DGCNN]
            whole += [np.mean([errors[kind] for kind in DGCNN], axis=0), np.mean(relative, axis=0)]
        by_kind = [own for kind in kinds for own in (kinds[kind], drops[kind])]
        return np.stack([*whole, *by_kind, *errors.values(), *means[:, 1:].T], axis=1)

    names = [
        overall,
        [name for _ in corrupted for name in KINDS],
        [f"CE {kind}" for kind in judged],
        list(columns)[1:],
    ]
    found = iter(measure([name for group in names for name in group], statistic, len(stacked), bootstrap))
    whole, each, errors, by_level = (tuple(islice(found, len(group))) for group in names)
    by_kind = {kind: each[2 * place : 2 * place + 2] for place, kind in enumerate(corrupted)}
    return Robustness(whole, by_kind, errors, by_level)
