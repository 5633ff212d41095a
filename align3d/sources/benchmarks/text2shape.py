"""Text2Shape source: chairs and tables with captions of people, as solid colored voxels or clouds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from align3d.errors import DataError, RejectedItem
from align3d.sources.benchmarks.published import PublishedSource, at_least, one_of, published_source
from align3d.sources.benchmarks.published_layout import Cloud, Entry, Layout, Publication, Shape
from align3d.sources.benchmarks.published_values import (
    cloud_of,
    is_below,
    kept_untrusted,
    labels_of,
    numbers,
    read_json,
)
from align3d.sources.benchmarks.restricted_pickle import load_untrusted
from align3d.sources.benchmarks.shapenet55 import SHAPENET_TERMS
from align3d.sources.benchmarks.solid_voxels import npz_cloud, nrrd_cloud
from align3d.table_file import Columns, read_rows

_CSV = "captions.tablechair.csv"
_SHAPES = "shapenetv2_level_1.pkl"
_COLUMNS = Columns(required=("modelid", "description"), optional=("category",))
_SYNSETS = {"03001627": "Chair", "04379243": "Table"}
PARTS = 17
"""Parts of Parts2Words' chairs and tables together."""

Said = dict[str, list[str]]
"""Captions by model."""


def _csv_entries(source: Text2ShapeSource) -> Iterator[Entry]:
    said, categories = _sentences(source)
    files = {model: f"{source.voxels}/{model}/{model}.nrrd" for model in said}
    return _joined(
        said, categories, {one: file for one, file in files.items() if is_below(source.base, file)}
    )


def _parts2words_entries(source: Text2ShapeSource) -> Iterator[Entry]:
    said, categories = _sentences(source)
    shapes = _pickled(source.base / _SHAPES)
    return _joined(said, categories, {model: _SHAPES for model in said if model in shapes})


def _processed_entries(source: Text2ShapeSource) -> Iterator[Entry]:
    """A shape for each model; captions are sentences of the words of ``shapenet.json``."""
    path = source.base / "shapenet.json"
    table = read_json(path, dict)
    words, listed = table.get("idx_to_word"), table.get("captions", [])
    if not isinstance(words, dict) or not isinstance(listed, list):
        raise DataError(f"{path} has no 'idx_to_word' and 'captions' as published")
    known = [one for one in listed if isinstance(one, dict) and "model" in one]
    categories = {str(one["model"]): str(one.get("category", "")) for one in known}
    said: Said = {}
    for split in source.splits_of("processed_captions_{}.p"):
        for model, places in _tuples(source, split):
            said.setdefault(model, []).append(_sentence(places, words, path))
    files = {model: f"{source.voxels}/{model}/{model}.nrrd" for model in said}
    return _joined(
        said, categories, {one: file for one, file in files.items() if is_below(source.base, file)}
    )


def _tricolo_entries(source: Text2ShapeSource) -> Iterator[Entry]:
    """A shape for each model of TriCoLo's lists; a model's file lies in the folder that its list says."""
    said: Said = {}
    categories: dict[str, str] = {}
    files: dict[str, str] = {}
    for split in source.splits_of("{}_map.json"):
        path = source.base / f"{split}_map.json"
        for one in read_json(path, list):
            if not isinstance(one, dict) or not {"model_id", "category", "caption"} <= one.keys():
                raise DataError(f"{path}: {str(one)[:60]!r} has no model_id, category and caption")
            model, synset = str(one["model_id"]), str(one["category"])
            said.setdefault(model, []).append(str(one["caption"]).strip())
            if is_below(source.base, file := f"{synset}/{model}.npz"):  # the synset is wrong for some
                files[model], categories[model] = file, _SYNSETS.get(synset, synset)
    return _joined(said, categories, files)


def _joined(said: Said, categories: Mapping[str, str], files: Mapping[str, str]) -> Iterator[Entry]:
    """A shape for each model that has a caption."""
    for model, texts in said.items():
        captions = tuple(dict.fromkeys(filter(None, texts)))
        problem = "" if model in files else f"caption without a shape: nothing of model {model}"
        if not captions:
            problem = "no caption: an empty text"
        yield Entry(model, files.get(model, ""), categories.get(model, ""), captions, problem=problem)


def _sentences(source: Text2ShapeSource) -> tuple[Said, dict[str, str]]:
    """Captions and class of each model of the split, from the CSV, joined by the model alone."""
    said: Said = {}
    categories: dict[str, str] = {}
    path = source.base / _CSV
    for row in read_rows(path, _COLUMNS, str(path)):
        if row.problem:
            raise DataError(f"{path}, {row.where}: {row.problem}")
        model = row.text("modelid").strip()
        said.setdefault(model, []).append(_unquoted(row.text("description")))
        categories.setdefault(model, row.text("category").strip())
    if source.split != "all":
        listed = {model for model, _ in _tuples(source, source.split)}
        said = {model: texts for model, texts in said.items() if model in listed}
    return said, categories


def _tuples(source: Text2ShapeSource, split: str) -> Iterator[tuple[str, NDArray[Any]]]:
    """Model, and numbers of the words, of each caption of a split."""
    path = source.base / f"processed_captions_{split}.p"
    value = load_untrusted(path)
    tuples = value.get("caption_tuples") if isinstance(value, dict) else None
    if not isinstance(tuples, list | tuple):
        raise DataError(f"{path} has no list 'caption_tuples'")
    for one in tuples:
        if not isinstance(one, tuple | list) or len(one) != 3 or not isinstance(one[2], str):
            raise DataError(f"{path}: {str(one)[:60]!r} is no (words, synset, model)")
        yield one[2].removesuffix(".nrrd"), np.asarray(one[0]).reshape(-1)


def _unquoted(text: str) -> str:
    """A text without the quotes around it, which some tables have inside of their own."""
    text = text.strip()
    while len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].strip()
    return text


def _sentence(places: NDArray[Any], words: Mapping[str, Any], path: Path) -> str:
    """The words of a caption; 0 is padding."""
    found = [words.get(str(place)) for place in places.tolist() if place != 0]
    if None in found:
        raise DataError(f"{path}: no word for a number of a caption, expected those of its split")
    return " ".join(map(str, found))


def _pickled(path: Path) -> dict[str, Sequence[Any]]:
    """All shapes of a pickle, read once by each process."""
    value = kept_untrusted(path)
    if not isinstance(value, dict):
        raise DataError(f"{path}: a {type(value).__name__}, expected models with their clouds")
    return value


def _parts2words_cloud(shape: Shape) -> Cloud:
    where = f"{shape.where}: {shape.entry.id}"
    value = _pickled(shape.path)[shape.entry.id]
    if not isinstance(value, tuple | list) or len(value) < 3:
        raise RejectedItem(f"{where}: expected (xyzrgb, ..., part)")
    table = numbers(value[0], where)
    cloud = cloud_of(table, where, table[:, 3:6] if table.ndim == 2 else None)
    part = labels_of(value[2], len(cloud.points), PARTS, where)
    return replace(cloud, part=part, part_names=tuple(map(str, range(PARTS))))


@published_source("text2shape")
class Text2ShapeSource(PublishedSource):
    """Text2Shape: chairs and tables of ShapeNet, each with some five captions.

    Captions are joined to shapes by the model's id alone; the synset is wrong for some. Of solid voxels the
    surface is taken.

    Attributes:
        layout: How the files lie: csv (``captions.tablechair.csv`` and voxels), processed
            (``processed_captions_*.p``, ``shapenet.json`` and voxels), tricolo (``*_map.json`` and voxels in
            ``<synset>/<model>.npz``) or parts2words (``shapenetv2_level_1.pkl`` and the CSV); None: found by
            what is there.
        split: Part of the benchmark to read: all, or train, val or test as ``processed_captions_*.p`` or
            ``*_map.json`` lists them.
        up: Axis that points up in the files, of voxels after the turn of their axes that the reference reader
            makes; None: y.
        resolution: Voxels along an edge, as in the name of the folder or array of voxels.
    """

    LAYOUTS = (
        Layout("csv", (_CSV, "{source.voxels}"), _csv_entries, nrrd_cloud),
        Layout(
            "processed",
            ("processed_captions_{source.any_split}.p", "shapenet.json", "{source.voxels}"),
            _processed_entries,
            nrrd_cloud,
        ),
        Layout(
            "tricolo",
            ("{source.any_split}_map.json", "*/*.npz"),
            _tricolo_entries,
            npz_cloud,
            folders=("*", "preprocessed/exp_data", "*/preprocessed/exp_data"),
        ),
        Layout("parts2words", (_SHAPES, _CSV), _parts2words_entries, _parts2words_cloud),
    )
    PUBLISHED = Publication(
        f"{_CSV}, the solid voxelizations and text2shape-data.zip",
        "text2shape.stanford.edu",
        *SHAPENET_TERMS,
    )

    split: str = one_of("all", "test", "train", "val")
    resolution: int = at_least(1, 32)

    @property
    def voxels(self) -> str:
        """Folder of the voxels."""
        return f"nrrd_256_filter_div_{self.resolution}_solid"

    @property
    def any_split(self) -> str:
        """Pattern of the split's name."""
        return "*" if self.split == "all" else self.split

    def splits_of(self, file: str) -> list[str]:
        """The splits that are read: that of the setting, or all whose list is there."""
        if self.split != "all":
            return [self.split]
        return [split for split in ("train", "val", "test") if (self.base / file.format(split)).is_file()]
