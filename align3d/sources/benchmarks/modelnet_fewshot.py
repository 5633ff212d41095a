"""ModelNet few-shot: the ten folds of each number of ways and shots that Point-BERT publishes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from align3d.errors import DataError
from align3d.sources import register
from align3d.sources.benchmarks.modelnet40 import TERMS, modelnet_names
from align3d.sources.benchmarks.published import (
    Cloud,
    Entry,
    Layout,
    Publication,
    PublishedSource,
    Shape,
    at_least,
    one_of,
)
from align3d.sources.benchmarks.published_values import cloud_of, kept_untrusted

SIDES = ("train", "test")


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
    return _checked(ModelNetFewShot(root=root, way=way, shot=shot, fold=fold))


def _checked(source: ModelNetFewShot) -> tuple[FewShotSet, FewShotSet]:
    path = source.base / source.file
    train, test = (_side(path, side) for side in SIDES)
    shots = Counter(train.labels.tolist())
    if len(shots) != source.way or set(shots.values()) != {source.shot}:
        counts = ", ".join(map(str, shots.values()))
        raise DataError(
            f"{path}: {len(shots)} classes of {counts} shapes to learn from, "
            f"expected {source.way} of {source.shot}"
        )
    if unknown := set(test.labels.tolist()) - set(shots):
        raise DataError(f"{path}: class {min(unknown)} is tested and not learned")
    return train, test


def _side(path: Path, side: str) -> FewShotSet:
    value = kept_untrusted(path)
    if not isinstance(value, dict) or not all(isinstance(value.get(one), list) for one in SIDES):
        raise DataError(f"{path}: expected a dict of two lists, train and test")
    clouds, labels, classes = [], [], []
    for number, row in enumerate(value[side]):
        where = f"{path}, {side} {number}"
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


def _entries(source: ModelNetFewShot) -> Iterator[Entry]:
    sides = dict(zip(SIDES, _checked(source), strict=True))
    has_numbers = any(isinstance(one, int) for side in sides.values() for one in side.classes)
    names = modelnet_names((source.base / source.file).parent, source.names) if has_numbers else []
    for side, found in sides.items():
        if source.split not in (side, "all"):
            continue
        for row, (category, problem) in enumerate(_named(one, names) for one in found.classes):
            problem = problem and f"{source.file}: {problem}"
            yield Entry(f"{side}/{row:04d}", source.file, category, row=row, extra=side, problem=problem)


def _cloud(shape: Shape) -> Cloud:
    side, row = shape.entry.extra, shape.row
    return cloud_of(kept_untrusted(shape.path)[side][row][0], f"{shape.entry.file}, {side} {row}")


@register("modelnet_fewshot")
@dataclass(kw_only=True, eq=False)
class ModelNetFewShot(PublishedSource):
    """ModelNet few-shot: one fold of 5 or 10 classes to learn from 10 or 20 shapes each.

    Ids begin with ``train/`` or ``test/``.

    Attributes:
        split: Side of the fold: train, test or all.
        way: Number of classes, as in the folder's name.
        shot: Number of shapes of a class to learn from, as in the folder's name.
        fold: Number of the fold, 0 to 9.
        names: File of the names of ModelNet40's classes, one a line, as the folds hold their numbers; None:
            ``shape_names.txt`` beside the folds or above.
    """

    name = "modelnet_fewshot"
    LAYOUTS = (Layout("pkl", ("{source.pattern}",), _entries, _cloud),)
    PUBLISHED = Publication(
        "ModelNetFewshot",
        "Point-BERT's page on its data (github.com/lulutang0608/Point-BERT, DATASET.md)",
        *TERMS,
    )

    split: str = one_of("all", *SIDES)
    way: int = at_least(2, 5)
    shot: int = at_least(1, 10)
    fold: int = at_least(0, 0)
    names: str | os.PathLike[str] | None = None

    @property
    def pattern(self) -> str:
        """Pattern of the fold's file, in a folder of either name."""
        folders = (f"{self.way}way{between}{self.shot}shot" for between in ("_", ""))
        return "|".join(f"{folder}/{self.fold}.pkl" for folder in folders)

    @property
    def file(self) -> str:
        """File of the fold."""
        return next(file for file in self.pattern.split("|") if (self.base / file).is_file())
