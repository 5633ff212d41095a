"""Text2Shape source: chairs and tables with captions of people, as solid colored voxels or clouds."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from align3d.errors import DataError, RejectedItem
from align3d.sampling import sample_surface
from align3d.sources import register
from align3d.sources.benchmarks.published import Cloud, Entry, Layouts, PublishedSource
from align3d.sources.benchmarks.published_files import kept_untrusted
from align3d.sources.benchmarks.published_values import (
    colors_of,
    is_below,
    labels_of,
    numbers,
    optional,
    points_of,
    read_json,
)
from align3d.sources.benchmarks.restricted_pickle import load_untrusted
from align3d.table_file import Columns, read_rows

_CSV = "captions.tablechair.csv"
_VOXELS = "nrrd_256_filter_div_*_solid"
_SHAPES = "shapenetv2_level_1.pkl"
_COLUMNS = Columns(required=("modelid", "description"), optional=("category",))
PARTS = 17
"""Parts of Parts2Words' chairs and tables together."""
MOST_BYTES = 4 * 256**3
"""Values of the largest voxelization that is published."""


@register("text2shape")
class Text2ShapeSource(PublishedSource):
    """Text2Shape: chairs and tables of ShapeNet, each with some five captions.

    Captions are joined to shapes by the model's id alone; the synset is wrong for some. Of solid voxels the
    surface is taken.

    Args:
        root: Folder of the files, or one above it.
        layout: How the files lie: csv (``captions.tablechair.csv`` and voxels), processed
            (``processed_captions_*.p``, ``shapenet.json`` and voxels) or parts2words
            (``shapenetv2_level_1.pkl`` and the CSV); None: found by what is there.
        split: Part of the benchmark to read: all, or train, val or test as ``processed_captions_*.p`` lists
            them.
        resolution: Voxels along an edge, as in the name of the folder of voxels.
        up: Axis that points up in the files, of voxels after the turn of their axes that the reference reader
            makes; None: y.
        size: Largest number of shapes, a fair sample (the first by the hash of their id); None: all.
    """

    name: ClassVar[str] = "text2shape"
    LAYOUTS: ClassVar[Layouts] = {
        "csv": (_CSV, _VOXELS),
        "processed": ("processed_captions_*.p", "shapenet.json", _VOXELS),
        "parts2words": (_SHAPES, _CSV),
    }
    SPLITS = ("all", "test", "train", "val")
    DOWNLOAD = f"{_CSV}, the solid voxelizations and text2shape-data.zip from text2shape.stanford.edu"
    LICENSE = "ShapeNet terms of use"
    UP = "y"

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        layout: str | None = None,
        split: str = "all",
        resolution: int = 32,
        up: str | None = None,
        size: int | None = None,
    ) -> None:
        super().__init__(root, layout, split, up, size)
        self.resolution = resolution

    def entries(self) -> list[Entry]:
        """A shape for each model that has a caption."""
        captions, categories = self._tokens() if self.layout == "processed" else self._sentences()
        if self.layout != "processed" and self.split != "all":
            listed = {model for model, _ in self._tuples(self.split)}
            captions = {model: said for model, said in captions.items() if model in listed}
        if self.layout == "parts2words":
            shapes = _pickled(self.base / _SHAPES)
            files = {model: _SHAPES for model in captions if model in shapes}
        else:
            folder = f"nrrd_256_filter_div_{self.resolution}_solid"
            names = {model: f"{folder}/{model}/{model}.nrrd" for model in captions}
            files = {model: file for model, file in names.items() if is_below(self.base, file)}
        return [
            Entry(
                model,
                files.get(model, ""),
                categories.get(model, ""),
                tuple(dict.fromkeys(filter(None, said))),
                problem=_problem(model, said, files),
            )
            for model, said in captions.items()
        ]

    def cloud(self, entry: Entry, count: int, rng: np.random.Generator) -> Cloud:
        """``count`` points on the faces of the voxels, or the points of a pickled cloud."""
        if self.layout != "parts2words":
            return _on_voxels(self.base / entry.file, count, rng)
        where = f"{entry.file}: {entry.id}"
        value = _pickled(self.base / entry.file)[entry.id]
        if not isinstance(value, tuple | list) or len(value) < 3:
            raise RejectedItem(f"{where}: expected (xyzrgb, ..., part)")
        table = numbers(value[0], where)
        points = points_of(table, where)
        colors, lost = colors_of(table[:, 3:6], len(points), where)
        part = labels_of(value[2], len(points), PARTS, where)
        return Cloud(points, colors, part, tuple(map(str, range(PARTS))), lost)

    def content(self, entry: Entry) -> bytes | None:
        """The file of voxels, whose surface is drawn anew for each seed."""
        return None if self.layout == "parts2words" else (self.base / entry.file).read_bytes()

    def _sentences(self) -> tuple[dict[str, list[str]], dict[str, str]]:
        """Captions and class of each model, from the CSV."""
        captions: dict[str, list[str]] = {}
        categories: dict[str, str] = {}
        label = f"data={self.name}: {self.base / _CSV}"
        for row in read_rows(self.base / _CSV, _COLUMNS, label):
            if row.problem:
                raise DataError(f"{label}, {row.where}: {row.problem}")
            model = row.text("modelid").strip()
            captions.setdefault(model, []).append(_unquoted(row.text("description")))
            categories.setdefault(model, row.text("category").strip())
        return captions, categories

    def _tokens(self) -> tuple[dict[str, list[str]], dict[str, str]]:
        """Captions and class of each model, from the numbers of their words."""
        path = self.base / "shapenet.json"
        table = read_json(path, dict, self.name)
        words, listed = table.get("idx_to_word"), table.get("captions", [])
        if not isinstance(words, dict) or not isinstance(listed, list):
            raise DataError(f"data={self.name}: {path} has no 'idx_to_word' and 'captions' as published")
        known = [one for one in listed if isinstance(one, dict) and "model" in one]
        categories = {str(one["model"]): str(one.get("category", "")) for one in known}
        captions: dict[str, list[str]] = {}
        splits = ("train", "val", "test") if self.split == "all" else (self.split,)
        for split in splits:
            if self.split == "all" and not self._list_of(split).is_file():
                continue
            for model, places in self._tuples(split):
                captions.setdefault(model, []).append(_sentence(places, words, path, self.name))
        return captions, categories

    def _tuples(self, split: str) -> Iterator[tuple[str, NDArray[Any]]]:
        """Model, and numbers of the words, of each caption of a split."""
        path = self._list_of(split)
        value = load_untrusted(path)
        tuples = value.get("caption_tuples") if isinstance(value, dict) else None
        if not isinstance(tuples, list | tuple):
            raise DataError(f"data={self.name}: {path} has no list 'caption_tuples'")
        for one in tuples:
            if not isinstance(one, tuple | list) or len(one) != 3 or not isinstance(one[2], str):
                raise DataError(f"data={self.name}: {path}: {str(one)[:60]!r} is no (words, synset, model)")
            yield one[2].removesuffix(".nrrd"), np.asarray(one[0]).reshape(-1)

    def _list_of(self, split: str) -> Path:
        return self.base / f"processed_captions_{split}.p"


def _problem(model: str, said: Iterable[str], files: dict[str, str]) -> str:
    if not any(said):
        return "no caption: an empty text"
    return "" if model in files else f"caption without a shape: nothing of model {model}"


def _unquoted(text: str) -> str:
    """A text without the quotes around it, which some tables have inside of their own."""
    text = text.strip()
    while len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].strip()
    return text


def _sentence(places: NDArray[Any], words: dict[str, Any], path: Path, name: str) -> str:
    """The words of a caption; 0 is padding."""
    found = [words.get(str(place)) for place in places.tolist() if place != 0]
    if None in found:
        raise DataError(
            f"data={name}: {path}: no word for a number of a caption, expected those of its split"
        )
    return " ".join(map(str, found))


def _pickled(path: Path) -> dict[str, Any]:
    """All shapes of a pickle, read once by each process."""
    value = kept_untrusted(path)
    if not isinstance(value, dict):
        raise DataError(f"{path}: a {type(value).__name__}, expected models with their clouds")
    return value


def _on_voxels(path: Path, count: int, rng: np.random.Generator) -> Cloud:
    """Points on the outer faces of solid voxels, with the voxels' colors."""
    nrrd = optional("nrrd")
    try:
        header = nrrd.read_header(str(path))
        apart = "data file" in header or "datafile" in header
        size = math.prod(map(int, header["sizes"]))
        if not apart and size <= MOST_BYTES:
            voxels, _ = nrrd.read(str(path))
    except Exception as error:  # whatever a damaged header or body raises
        reason = str(error).strip().partition("\n")[0]
        raise RejectedItem(f"{path.name}: damaged: {reason or type(error).__name__}") from error
    if apart:
        raise RejectedItem(f"{path.name}: its voxels are in another file, expected them behind the header")
    if size > MOST_BYTES:
        raise RejectedItem(f"{path.name}: {size} values, expected at most {MOST_BYTES}")
    if voxels.ndim != 4 or voxels.shape[0] != 4 or voxels.dtype != np.uint8:
        raise RejectedItem(
            f"{path.name}: {voxels.dtype}{list(voxels.shape)}, expected uint8 RGBA (4, a, b, c)"
        )
    grid = np.moveaxis(voxels, 0, -1).transpose(2, 0, 1, 3)  # (a, b, c) -> (c, a, b), a rotation
    solid = grid[..., 3] > 0
    if not solid.any():  # some writers leave the opacity out
        solid = grid[..., :3].any(axis=-1)
    if not solid.any():
        raise RejectedItem(f"{path.name}: no voxel that is not empty")
    triangles, voxel = _faces(solid)
    points, face, _ = sample_surface(triangles, count, rng)
    return Cloud(points, grid[..., :3][tuple(voxel[face].T)])


def _faces(solid: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Outer faces of solid voxels: triangles f64[F, 3, 3], and the voxel i64[F, 3] of each."""
    padded = np.pad(solid, 1)
    triangles, owners = [], []
    for axis in range(3):
        u, v = np.eye(3)[(axis + 1) % 3], np.eye(3)[(axis + 2) % 3]
        for step in (-1, 1):
            outside = ~np.roll(padded, -step, axis)[1:-1, 1:-1, 1:-1]
            own = np.argwhere(solid & outside)
            corner = own + np.eye(3)[axis] * (step > 0)
            for one, two in ((u, u + v), (u + v, v)):
                triangles.append(np.stack([corner, corner + one, corner + two], axis=1))
                owners.append(own)
    return np.concatenate(triangles), np.concatenate(owners)
