"""ModelNet few-shot: the ten folds of each number of ways and shots that Point-BERT publishes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from align3d.errors import DataError
from align3d.sources.benchmarks.modelnet40 import TERMS, modelnet_names
from align3d.sources.benchmarks.published import PublishedSource, at_least, one_of, published_source
from align3d.sources.benchmarks.published_layout import Cloud, Entry, Layout, Publication, Shape
from align3d.sources.benchmarks.published_values import cloud_of, kept_untrusted

SIDES = ("train", "test")


def _entries(source: ModelNetFewShot) -> Iterator[Entry]:
    path = source.base / source.file
    rows = {side: [*_rows(path, side)] for side in SIDES}
    _check_fold({side: [label for label, _ in found] for side, found in rows.items()}, source, path)
    has_numbers = any(isinstance(kind, int) for found in rows.values() for _, kind in found)
    names = modelnet_names(path.parent, source.names) if has_numbers else []
    for side in SIDES if source.split == "all" else (source.split,):
        for row, (_, kind) in enumerate(rows[side]):
            known = isinstance(kind, str) or 0 <= kind < len(names)
            problem = "" if known else f"{source.file}: class {kind} with {len(names)} names of classes"
            category = kind if isinstance(kind, str) else names[kind] if known else ""
            yield Entry(f"{side}/{row:04d}", source.file, category, row=row, extra=side, problem=problem)


def _rows(path: Path, side: str) -> Iterator[tuple[int, int | str]]:
    """Each row's number of the class within the fold, and its number in ModelNet40 or its name."""
    value = kept_untrusted(path)
    if not isinstance(value, dict) or not all(isinstance(value.get(one), list) for one in SIDES):
        raise DataError(f"{path}: expected a dict of two lists, train and test")
    for number, row in enumerate(value[side]):
        where = f"{path}, {side} {number}"
        if not isinstance(row, tuple | list) or len(row) != 3:
            raise DataError(f"{where}: expected points, label and class")
        label, kind = _one(row[1], "iu", f"{where}: label"), _one(row[2], "iuU", f"{where}: class")
        yield int(label), int(kind) if str(kind).isdecimal() else str(kind)


def _one(value: Any, kinds: str, where: str) -> Any:
    found = np.asarray(value)
    if found.size != 1 or found.dtype.kind not in kinds:
        expected = "a whole number or a name" if "U" in kinds else "a whole number"
        raise DataError(f"{where} {value!r}, expected {expected}")
    return found.reshape(-1)[0]


def _check_fold(labels: Mapping[str, Sequence[int]], source: ModelNetFewShot, path: Path) -> None:
    """Refuse a fold that is not what its folder's name says."""
    shots = Counter(labels["train"])
    if len(shots) != source.way or set(shots.values()) != {source.shot}:
        counts = ", ".join(map(str, shots.values()))
        raise DataError(
            f"{path}: {len(shots)} classes of {counts} shapes to learn from, "
            f"expected {source.way} of {source.shot}"
        )
    if unknown := set(labels["test"]) - set(shots):
        raise DataError(f"{path}: class {min(unknown)} is tested and not learned")


def _cloud(shape: Shape) -> Cloud:
    side, row = shape.entry.extra, shape.row
    return cloud_of(kept_untrusted(shape.path)[side][row][0], f"{shape.entry.file}, {side} {row}")


@published_source("modelnet_fewshot")
class ModelNetFewShot(PublishedSource):
    """ModelNet few-shot: one fold of 5 or 10 classes to learn from 10 or 20 shapes each.

    Ids begin with ``train/`` or ``test/``. A result is the mean and the standard deviation of the accuracy
    over the folds 0 to 9.

    Attributes:
        split: Side of the fold: train, test or all.
        way: Number of classes, as in the folder's name.
        shot: Number of shapes of a class to learn from, as in the folder's name.
        fold: Number of the fold, 0 to 9.
        names: File of the names of ModelNet40's classes, one a line, as the folds hold their numbers; None:
            ``shape_names.txt`` beside the folds or above.
    """

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
