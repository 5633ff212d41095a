"""Published sets of a benchmark that one result is made of: folds of few shots, and files of corruptions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from align3d.console.progress import Tracker
from align3d.dataset import ShapeDataset
from align3d.errors import UserError
from align3d.shifts import CLEAN
from experiments.evaluate_run.subject import Vectors
from experiments.tasks.few_shot import Fold
from experiments.tasks.prompts import same_class

if TYPE_CHECKING:
    from experiments.evaluate_run.evaluated_shapes import Evaluated

SUPPORT = "train/"
"""What ids of a fold's support begin with; the others are its queries."""


def folds_of(evaluated: Evaluated) -> list[Fold]:
    """The folds of the benchmark, embedded, each with a support and queries of its own.

    Raises:
        UserError: A fold lacks a support or queries.
    """
    folds = []
    sets = evaluated.asked.sets
    with Tracker("embedding folds", len(sets), "folds") as tracker:
        for settings in sets:
            dataset, vectors = evaluated.published_set(settings)
            kinds = np.array([same_class(category) for category in dataset.categories])
            labels = np.unique(kinds, return_inverse=True)[1]
            shown = np.array([name.startswith(SUPPORT) for name in dataset.ids])
            if shown.all() or not shown.any():
                raise UserError(f"{_label(evaluated, settings)}: expected shapes to learn from and to ask")
            folds.append(Fold(vectors[shown], labels[shown], vectors[~shown], labels[~shown]))
            tracker.advance(note=str(settings["fold"]))
    return folds


def published_corruptions(
    evaluated: Evaluated, right: Callable[[Vectors], NDArray[np.bool_]]
) -> dict[str, dict[str, NDArray[np.bool_]]]:
    """Which shapes are classified rightly in the published files of corruptions, by kind and level.

    Args:
        evaluated: The clean shapes, which are the first of the benchmark's sets.
        right: From embeddings ``[M, E]`` of the shapes to ``[M]``.

    Raises:
        UserError: A file has other shapes than the clean one.
    """
    found: dict[str, dict[str, NDArray[np.bool_]]] = {}
    corrupted = [own for own in evaluated.asked.sets if own["corruption"] != CLEAN]
    with Tracker("embedding corruptions", len(corrupted), "files") as tracker:
        for settings in corrupted:
            dataset, vectors = evaluated.published_set(settings)
            kind, name = str(settings["corruption"]), f"{settings['corruption']}:{settings['level']}"
            rows = _rows_of(evaluated, dataset, settings)
            found.setdefault(kind, {})[name] = right(vectors[rows])
            tracker.advance(note=name)
    return found


def _rows_of(evaluated: Evaluated, dataset: ShapeDataset, settings: Mapping[str, Any]) -> NDArray[np.int64]:
    """Rows ``[M]`` of a corrupted file's shapes in the order of the clean ones."""
    places = {name: row for row, name in enumerate(map(_number, dataset.ids))}
    own = [_number(evaluated.corpus.dataset.ids[index]) for index in evaluated.indices.tolist()]
    rows = np.array([places.get(name, -1) for name in own], np.int64)
    if (rows < 0).any():
        missing = evaluated.corpus.dataset.ids[int(evaluated.indices[int((rows < 0).argmax())])]
        raise UserError(f"{_label(evaluated, settings)}: no shape for {missing!r} of the clean ones")
    for row, index in zip(rows.tolist(), evaluated.indices.tolist(), strict=True):
        there, clean = dataset.categories[row], evaluated.corpus.dataset.categories[index]
        if same_class(there) != same_class(clean):
            raise UserError(
                f"{_label(evaluated, settings)}: shape {dataset.ids[row]!r} is called {there!r}, and "
                f"{clean!r} in the clean file; expected the same shapes in the same order"
            )
    return rows


def _number(name: str) -> str:
    """What an id is within its file."""
    return name.rpartition("/")[2]


def _label(evaluated: Evaluated, settings: Mapping[str, Any]) -> str:
    words = " ".join(f"data.{key}={value}" for key, value in settings.items())
    return f"benchmark={evaluated.asked.benchmark} {words}"
