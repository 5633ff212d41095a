"""ShapeNetPart source: clouds of 16 classes with labels of 50 parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from align3d.errors import DataError
from align3d.sources.benchmarks.hdf5_arrays import h5_array, h5_cloud, h5_entries, h5_has
from align3d.sources.benchmarks.published import PublishedSource, one_of, published_source
from align3d.sources.benchmarks.published_layout import Cloud, Entry, Layout, Publication, Shape, visible
from align3d.sources.benchmarks.published_values import (
    cloud_of,
    is_below,
    labels_of,
    lines_of,
    number_lines,
    read_json,
)
from align3d.sources.benchmarks.shapenet55 import SHAPENET_TERMS

PARTS = 50
_CLASSES = "all_object_categories.txt"
_SYNSETS = "synsetoffset2category.txt"
_LABELS = ("pid", "seg")
_COLUMNS = ("x", "y", "z", "nx", "ny", "nz", "part")


def _h5_entries(source: ShapeNetPartSource) -> Iterator[Entry]:
    classes = [line.split()[0] for line in lines_of(source.base / _CLASSES)]
    source.names()  # a damaged list is refused at once
    for split in source.parts_of_split:
        patterns = (f"ply_data_{split}*.h5", f"{split}[0-9]*.h5")
        paths = [*visible((path for one in patterns for path in source.base.glob(one)), source.base)]
        if not paths:
            raise DataError(f"no {patterns[0]} in {source.base}")
        for path in paths:
            labels = next((name for name in _LABELS if h5_has(path, name)), None)
            if labels is None:
                raise DataError(f"{path} has no dataset {' or '.join(_LABELS)}")
            yield from h5_entries(source.base, path.name, classes, extra=labels, beside=source.beside)


def _h5_cloud(shape: Shape) -> Cloud:
    part = h5_array(shape.path, shape.entry.extra, shape.row)
    return _with_parts(h5_cloud(shape), part, shape)


def _text_entries(source: ShapeNetPartSource) -> Iterator[Entry]:
    pairs = [line.split() for line in lines_of(source.base / _SYNSETS)]
    classes = {pair[1]: pair[0] for pair in pairs if len(pair) == 2}
    source.names()
    for split in source.parts_of_split:
        path = source.base / "train_test_split" / f"shuffled_{split}_file_list.json"
        for line in read_json(path, list):
            synset, _, model = str(line).removeprefix("shape_data/").partition("/")
            file = f"{synset}/{model}.txt"
            problem = "" if is_below(source.base, file) else f"no file that {path.name} names: {file}"
            if synset not in classes:
                problem = f"synset {synset!r} is not in {_SYNSETS}"
            category = classes.get(synset, "")
            yield Entry(f"{synset}/{model}", file, category, beside=source.beside, problem=problem)


def _text_cloud(shape: Shape) -> Cloud:
    table = number_lines(shape.path, shape.where, _COLUMNS)
    return _with_parts(cloud_of(table, shape.where), table[:, 6], shape)


def _with_parts(cloud: Cloud, part: object, shape: Shape) -> Cloud:
    labels = labels_of(part, len(cloud.points), PARTS, shape.where)
    return replace(cloud, part=labels, part_names=shape.source.names())


@published_source("shapenetpart")
class ShapeNetPartSource(PublishedSource):
    """ShapeNetPart: clouds of 16 classes, each point with one of 50 part labels.

    The files number the parts from 0 to 49 and do not name them. Names come from ``part_names.json``, a list
    of 50; without it a part is called by its number.

    Attributes:
        layout: How the files lie: h5 (``ply_data_test0.h5``) or text (a line of 7 numbers a point); None:
            found by what is there.
        split: Part of the benchmark to read: train, val, test, or trainval.
        part_names: JSON file of the 50 parts' names in the order of their numbers, relative to the root;
            None: ``part_names.json`` where it is there.
    """

    LAYOUTS = (
        Layout(
            "h5",
            (_CLASSES, "ply_data_{source.first_split}*.h5|{source.first_split}[0-9]*.h5"),
            _h5_entries,
            _h5_cloud,
        ),
        Layout(
            "text",
            (_SYNSETS, "train_test_split/shuffled_{source.first_split}_file_list.json"),
            _text_entries,
            _text_cloud,
        ),
    )
    PUBLISHED = Publication(
        "shapenet_part_seg_hdf5_data.zip or shapenetcore_partanno_segmentation_benchmark_v0_normal.zip",
        "shapenet.cs.stanford.edu/media",
        *SHAPENET_TERMS,
    )

    split: str = one_of("test", "train", "val", "trainval")
    part_names: str | None = None

    @property
    def parts_of_split(self) -> tuple[str, ...]:
        """The splits that are read, as the files call them."""
        return ("train", "val") if self.split == "trainval" else (self.split,)

    @property
    def first_split(self) -> str:
        """The first of them."""
        return self.parts_of_split[0]

    @property
    def beside(self) -> tuple[str, ...]:
        """The file of the parts' names, where there is one."""
        file = self.part_names or "part_names.json"
        return (file,) if self.part_names or (self.base / file).is_file() else ()

    def names(self) -> tuple[str, ...]:
        """Names of the parts, in the order of their numbers.

        Raises:
            DataError: The file is damaged, or holds something else.
        """
        if not self.beside:
            return tuple(map(str, range(PARTS)))
        path = self.base / self.beside[0]
        names = read_json(path, list)
        if len(names) != PARTS or not all(isinstance(name, str) for name in names):
            raise DataError(f"{path} has {len(names)} entries, expected {PARTS} names")
        return tuple(names)
