"""ModelNet few-shot: the ten folds of each number of ways and shots that Point-BERT publishes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from align3d.errors import DataError
from align3d.sources import register
from align3d.sources.benchmarks.published_files import (
    BenchmarkSource,
    Cloud,
    Entry,
    Layout,
    array_cloud,
    kept_untrusted,
    modelnet_names,
)

SPLITS = ("train", "test")


@dataclass(frozen=True)
class FewShotSet:
    """One side of a fold.

    Attributes:
        clouds: f32[P, 6] of each shape: x, y, z and a normal, y up.
        labels: i64[N], numbers of the classes within the fold.
        classes: What the file calls each shape's class: its number in ModelNet40, or a name.
    """

    clouds: tuple[NDArray[np.float32], ...]
    labels: NDArray[np.int64]
    classes: tuple[int | str, ...]


def read_fold(root: str | os.PathLike[str], way: int, shot: int, fold: int) -> tuple[FewShotSet, FewShotSet]:
    """The train and the test set of a fold.

    A result is the mean and the standard deviation of the accuracy over the folds 0 to 9.

    Args:
        root: Folder ``ModelNetFewshot``, or the one that holds it.
        way: Number of classes.
        shot: Number of shapes of each class to learn from.
        fold: Number of the fold.

    Raises:
        DataError: No such file; it is damaged, or does not hold so many classes and shapes.
    """
    source = ModelNetFewShot(root, way, shot, fold)
    _, home = source.find()
    train, test = (_side(home / f"{fold}.pkl", split) for split in SPLITS)
    return _checked(train, test, way, shot, home / f"{fold}.pkl")


def _side(path: Path, split: str) -> FewShotSet:
    value = kept_untrusted(path)
    if not isinstance(value, dict) or not all(isinstance(value.get(side), list) for side in SPLITS):
        raise DataError(f"{path}: expected a dict of two lists, train and test")
    clouds, labels, classes = [], [], []
    for number, row in enumerate(value[split]):
        where = f"{path}, {split} {number}"
        if not isinstance(row, tuple | list) or len(row) != 3:
            raise DataError(f"{where}: expected points, label and class")
        label = np.asarray(row[1])
        if label.size != 1 or label.dtype.kind not in "iu":
            raise DataError(f"{where}: label {row[1]!r}, expected a whole number")
        clouds.append(np.asarray(row[0], dtype=np.float32))
        labels.append(int(label.reshape(-1)[0]))
        classes.append(_class(row[2], where))
    return FewShotSet(tuple(clouds), np.array(labels, np.int64), tuple(classes))


def _class(value: Any, where: str) -> int | str:
    found = np.asarray(value)
    if found.size != 1 or found.dtype.kind not in "iuU":
        raise DataError(f"{where}: class {value!r}, expected a whole number or a name")
    one = found.reshape(-1)[0].item()
    return int(one) if str(one).isdecimal() else one


def _named(one: int | str, names: list[str]) -> tuple[str, str]:
    """The name of a class, and what is wrong with it."""
    if isinstance(one, str):
        return one, ""
    if not 0 <= one < len(names):
        return "", f"class {one} with {len(names)} names of classes"
    return names[one], ""


def _checked(
    train: FewShotSet, test: FewShotSet, way: int, shot: int, path: Path
) -> tuple[FewShotSet, FewShotSet]:
    shots = Counter(train.labels.tolist())
    if len(shots) != way or set(shots.values()) != {shot}:
        counts = ", ".join(map(str, shots.values()))
        raise DataError(
            f"{path}: {len(shots)} classes of {counts} shapes to learn from, expected {way} of {shot}"
        )
    if unknown := set(test.labels.tolist()) - set(shots):
        raise DataError(f"{path}: class {min(unknown)} is tested and not learned")
    return train, test


def _entries(home: Path, choices: Mapping[str, Any]) -> list[Entry]:
    path = home / f"{choices['fold']}.pkl"
    train, test = (_side(path, split) for split in SPLITS)
    _checked(train, test, choices["way"], choices["shot"], path)
    has_numbers = any(isinstance(one, int) for one in (*train.classes, *test.classes))
    names = modelnet_names(home, choices["names"]) if has_numbers else []
    return [
        Entry(
            f"{split}/{number:04d}", name, (path.name, split, number), problem and f"{path.name}: {problem}"
        )
        for split, side in zip(SPLITS, (train, test), strict=True)
        for number, (name, problem) in enumerate(_named(one, names) for one in side.classes)
        if choices["split"] in (split, "all")
    ]


def _cloud(home: Path, place: tuple[str, str, int], count: int, rng: np.random.Generator) -> Cloud:
    name, split, number = place
    return array_cloud(kept_untrusted(home / name)[split][number][0], f"{name}, {split} {number}")


def _homes(way: int, shot: int) -> tuple[str, ...]:
    folders = (f"{way}way_{shot}shot", f"{way}way{shot}shot")
    return tuple(f"{above}{folder}" for above in ("", "ModelNetFewshot/") for folder in folders)


@register("modelnet_fewshot")
class ModelNetFewShot(BenchmarkSource):
    """ModelNet few-shot: one fold of 5 or 10 classes to learn from 10 or 20 shapes each.

    Ids begin with ``train/`` or ``test/``.

    Args:
        way: Number of classes, as in the folder's name.
        shot: Number of shapes of a class to learn from, as in the folder's name.
        fold: Number of the fold, 0 to 9.
        split: Side of the fold: train, test or all.
        names: File of the names of ModelNet40's classes, one a line, as the folds hold their numbers; None:
            ``shape_names.txt`` beside the folds or above.
    """

    name = "modelnet_fewshot"
    download = (
        "Download ModelNetFewshot as Point-BERT's page on its data says "
        "(github.com/lulutang0608/Point-BERT, DATASET.md); for academic research only, as ModelNet"
    )
    license = "LicenseRef-ModelNet"

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        way: int = 5,
        shot: int = 10,
        fold: int = 0,
        split: str = "all",
        names: str | os.PathLike[str] | None = None,
        up: str | None = None,
        size: int | None = None,
    ) -> None:
        super().__init__(root, None, up, size)
        for setting, value, least in (("way", way, 2), ("shot", shot, 1), ("fold", fold, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise DataError(
                    f"data={self.name}: {setting}={value!r}, expected a whole number from {least}"
                )
        self._one_of("split", split, ("all", *SPLITS))
        given = None if names is None else str(names)
        self.choices = {"way": way, "shot": shot, "fold": fold, "split": split, "names": given}
        self.layouts = (Layout("pkl", _homes(way, shot), ("{fold}.pkl",), "y", _entries, _cloud),)  # type: ignore[misc]

    def _hint(self) -> str:
        way, shot = self.choices["way"], self.choices["shot"]
        return f" ({way}way_{shot}shot or {way}way{shot}shot)"
