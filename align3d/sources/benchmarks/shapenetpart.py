"""ShapeNetPart source: clouds of 16 classes with labels of 50 parts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from align3d.errors import DataError, RejectedItem
from align3d.sources import register
from align3d.sources.benchmarks.published import Cloud, Entry, Layouts, PublishedSource
from align3d.sources.benchmarks.published_files import h5_array, h5_has
from align3d.sources.benchmarks.published_values import (
    class_numbers,
    is_below,
    labels_of,
    points_of,
    read_json,
    read_text,
)

PARTS = 50
_CLASSES = "all_object_categories.txt"
_SYNSETS = "synsetoffset2category.txt"
_LABELS = ("pid", "seg")


@register("shapenetpart")
class ShapeNetPartSource(PublishedSource):
    """ShapeNetPart: clouds of 16 classes, each point with one of 50 part labels.

    The files number the parts from 0 to 49 and do not name them. Names come from ``part_names.json``, a list
    of 50; without it a part is called by its number.

    Args:
        root: Folder of the files, or one above it.
        layout: How the files lie: h5 (``ply_data_test0.h5``) or text (a line of 7 numbers a point); None:
            found by what is there.
        split: Part of the benchmark to read: train, val, test, or trainval.
        part_names: JSON file of the 50 parts' names in the order of their numbers, relative to the root;
            None: ``part_names.json`` where it is there.
        up: Axis that points up in the files; None: y.
        size: Largest number of shapes, a fair sample (the first by the hash of their id); None: all.
    """

    name: ClassVar[str] = "shapenetpart"
    LAYOUTS: ClassVar[Layouts] = {"h5": (_CLASSES, "*.h5"), "text": (_SYNSETS, "train_test_split/*.json")}
    SPLITS = ("test", "train", "val", "trainval")
    DOWNLOAD = (
        "shapenet_part_seg_hdf5_data.zip or shapenetcore_partanno_segmentation_benchmark_v0_normal.zip "
        "of Stanford's ShapeNet"
    )
    LICENSE = "ShapeNet terms of use"
    UP = "y"

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        layout: str | None = None,
        split: str = "test",
        part_names: str | None = None,
        up: str | None = None,
        size: int | None = None,
    ) -> None:
        super().__init__(root, layout, split, up, size)
        self.part_names = part_names

    def entries(self) -> list[Entry]:
        """Shapes of the split's files, or of its list."""
        names = self._names()
        found = self._rows if self.layout == "h5" else self._texts
        return [entry for split in self._splits for entry in found(split, names)]

    def cloud(self, entry: Entry, count: int, rng: np.random.Generator) -> Cloud:
        """Points of a row or of a text file, with their part labels."""
        path = self.base / entry.file
        names, labels = entry.extra
        values: Any
        if self.layout == "h5":
            values, part = h5_array(path, "data", entry.place), h5_array(path, labels, entry.place)
        else:
            table = _table(path)
            values, part = table[:, :3], table[:, 6]
        points = points_of(values, entry.file)
        return Cloud(points, None, labels_of(part, len(points), PARTS, entry.file), names)

    @property
    def _splits(self) -> tuple[str, ...]:
        return ("train", "val") if self.split == "trainval" else (self.split,)

    def _rows(self, split: str, names: tuple[str, ...]) -> Iterator[Entry]:
        classes = [line.split()[0] for line in _lines(self.base / _CLASSES, self.name)]
        files = sorted([*self.base.glob(f"ply_data_{split}*.h5"), *self.base.glob(f"{split}[0-9]*.h5")])
        if not files:
            raise DataError(f"data={self.name}: no ply_data_{split}*.h5 in {self.base}")
        for path in files:
            labels = next((name for name in _LABELS if h5_has(path, name)), None)
            if labels is None:
                raise DataError(f"data={self.name}: {path} has no dataset {' or '.join(_LABELS)}")
            for place, number in enumerate(class_numbers(path, "label")):
                known = 0 <= number < len(classes)
                problem = "" if known else f"class {number} of {len(classes)} in {_CLASSES}"
                yield Entry(
                    f"{path.stem}/{place:05d}",
                    path.name,
                    classes[number] if known else "",
                    place=place,
                    extra=(names, labels),
                    problem=problem,
                )

    def _texts(self, split: str, names: tuple[str, ...]) -> Iterator[Entry]:
        pairs = [line.split() for line in _lines(self.base / _SYNSETS, self.name)]
        classes = {pair[1]: pair[0] for pair in pairs if len(pair) == 2}
        path = self.base / "train_test_split" / f"shuffled_{split}_file_list.json"
        for line in read_json(path, list, self.name):
            synset, _, model = str(line).removeprefix("shape_data/").partition("/")
            file = f"{synset}/{model}.txt"
            problem = "" if is_below(self.base, file) else f"no file that {path.name} names: {file}"
            if synset not in classes:
                problem = f"synset {synset!r} is not in {_SYNSETS}"
            yield Entry(
                f"{synset}/{model}", file, classes.get(synset, ""), extra=(names, ""), problem=problem
            )

    def _names(self) -> tuple[str, ...]:
        path = self.base / (self.part_names or "part_names.json")
        if self.part_names is None and not path.is_file():
            return tuple(map(str, range(PARTS)))
        names = read_json(path, list, self.name)
        if len(names) != PARTS or not all(isinstance(name, str) for name in names):
            raise DataError(f"data={self.name}: {path} has {len(names)} entries, expected {PARTS} names")
        return tuple(names)


def _lines(path: Path, name: str) -> list[str]:
    return [line for line in read_text(path, name).splitlines() if line.strip()]


def _table(path: Path) -> np.ndarray:
    """The numbers f64[N, 7] of a text file: xyz, normal, part."""
    try:
        table = np.loadtxt(path, ndmin=2)
    except ValueError as error:
        raise RejectedItem(f"{path.name}: damaged: {error}") from error
    if table.shape[1:] != (7,):
        raise RejectedItem(f"{path.name}: {list(table.shape)} numbers, expected 7 a line (xyz, normal, part)")
    return table
