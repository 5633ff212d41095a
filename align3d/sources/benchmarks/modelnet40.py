"""ModelNet40 in the layouts that its users pass on: OFF, text, ``.dat``, HDF5, OpenShape's and ULIP-2's."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from align3d.errors import DataError, RejectedItem
from align3d.hashing import hash_bytes, hash_lines
from align3d.sources import register
from align3d.sources.benchmarks.published_files import (
    BenchmarkSource,
    Cloud,
    Entry,
    Layout,
    array_cloud,
    class_names,
    h5_array,
    kept_untrusted,
    labeled,
)
from align3d.sources.meshes.scene_readers import readers_fingerprint
from align3d.sources.surface import read_points

_NAMES = "modelnet40_shape_names.txt"


def _off_entries(home: Path, choices: Mapping[str, Any]) -> list[Entry]:
    paths = sorted(path.relative_to(home) for path in home.glob(f"*/{choices['split']}/*.off"))
    return [
        Entry(path.with_suffix("").as_posix(), path.parts[0], path.as_posix())
        for path in paths
        if path.parts[0] != "__MACOSX" and not path.name.startswith(".")
    ]


def _off_cloud(home: Path, place: str, count: int, rng: np.random.Generator) -> Cloud:
    path = home / place
    try:
        hashed = hash_bytes(path.read_bytes())
    except OSError as error:
        raise RejectedItem(f"{path}: cannot be read: {error.strerror}") from error
    try:
        found = read_points(path, count, rng, home)
    except RejectedItem as rejected:
        raise RejectedItem(f"{place}: {rejected.reason}") from rejected
    return Cloud(found.points, None, content_hash=hashed, notes=found.notes)


def _text_entries(home: Path, choices: Mapping[str, Any]) -> list[Entry]:
    names = class_names(home / _NAMES)
    listed = home / f"modelnet40_{choices['split']}.txt"
    entries = []
    for shape in class_names(listed):
        category, _, number = shape.rpartition("_")
        place = f"{category}/{shape}.txt"
        problem = ""
        if category not in names or not number.isdigit() or {*"/\\"} & {*shape}:
            problem = f"{listed.name} names {shape!r}, expected a class of {_NAMES} and a number"
        elif not (home / place).is_file():
            problem = f"{listed.name} names {shape}, and there is no {place}"
        entries.append(Entry(shape, category, place, problem))
    return entries


def _text_cloud(home: Path, place: str, count: int, rng: np.random.Generator) -> Cloud:
    try:
        rows = np.loadtxt(home / place, delimiter=",", dtype=np.float64, ndmin=2)
    except (OSError, ValueError) as error:
        raise RejectedItem(f"{place}: cut or damaged: {str(error).splitlines()[0]}") from error
    if rows.shape[1] != 6:
        raise RejectedItem(f"{place}: {rows.shape[1]} numbers a line, expected x, y, z and a normal")
    return array_cloud(rows, place)


def _dat_file(home: Path, choices: Mapping[str, Any]) -> Path:
    """The pickle with the most points of a shape."""
    split = choices["split"]
    return max(
        home.glob(f"modelnet40_{split}_*pts_fps.dat"),
        key=lambda path: int(re.sub(r"\D", "", path.name.removeprefix(f"modelnet40_{split}_")) or 0),
    )


def _dat_entries(home: Path, choices: Mapping[str, Any]) -> list[Entry]:
    path = _dat_file(home, choices)
    _, labels = _dat(path)
    numbers = [np.asarray(label).reshape(-1) for label in labels]
    if any(len(number) != 1 for number in numbers):
        raise DataError(f"{path}: a label of several numbers, expected one")
    flat = [number[0] for number in numbers]
    return labeled(choices["split"], flat, class_names(home / _NAMES), path.name, path)


def _dat(path: Path) -> tuple[Sequence[Any], Sequence[Any]]:
    value = kept_untrusted(path)
    if not isinstance(value, list | tuple) or len(value) != 2 or len(value[0]) != len(value[1]):
        raise DataError(f"{path}: expected two lists of equal length, of clouds and of labels")
    return value[0], value[1]


def _dat_cloud(home: Path, place: tuple[str, int], count: int, rng: np.random.Generator) -> Cloud:
    name, row = place
    return array_cloud(_dat(home / name)[0][row], f"{name}, row {row}")


def _h5_entries(home: Path, choices: Mapping[str, Any]) -> list[Entry]:
    names = class_names(home / "shape_names.txt")
    entries = []
    paths = home.glob(f"ply_data_{choices['split']}*.h5")
    for path in sorted(paths, key=lambda path: int(re.sub(r"\D", "", path.stem) or 0)):
        entries += labeled(path.stem, h5_array(path, "label"), names, path.name, path)
    return entries


def h5_cloud(home: Path, place: tuple[str, int], count: int, rng: np.random.Generator) -> Cloud:
    """A row of the array ``data`` of an HDF5 file, given its name and the row."""
    name, row = place
    return array_cloud(h5_array(home / name, "data", row), f"{name}, row {row}")


def _listed_entries(home: Path, array: str, split: str) -> list[Entry]:
    """Rows of an array of dicts, with a JSON list that says what each is."""
    clouds, listed = kept_untrusted(home / array), home / split
    try:
        rows = json.loads(listed.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{listed}: cannot be read: {error}") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "category" in row for row in rows):
        raise DataError(f"{listed}: expected a list of objects with a category")
    if len(rows) != len(clouds):
        raise DataError(f"{listed}: {len(rows)} shapes, and {array} has {len(clouds)}; from two versions?")
    return [
        Entry(str(row.get("name", f"test/{number:05d}")), str(row["category"]), (array, number))
        for number, row in enumerate(rows)
    ]


def _openshape_entries(home: Path, choices: Mapping[str, Any]) -> list[Entry]:
    return _listed_entries(home, "test_pc.npy", "test_split.json")


def _ulip2_entries(home: Path, choices: Mapping[str, Any]) -> list[Entry]:
    return _listed_entries(home, "modelnet40_colored_10k_pc.npy", "modelnet40_test_split_10k_colored.json")


def _dict_cloud(home: Path, place: tuple[str, int], count: int, rng: np.random.Generator) -> Cloud:
    name, row = place
    value = kept_untrusted(home / name)[row]
    if not isinstance(value, dict) or "xyz" not in value:
        raise RejectedItem(f"{name}, row {row}: expected a dict with xyz")
    return array_cloud(value["xyz"], f"{name}, row {row}", value.get("rgb"), 255.0)


_TEXT_HOMES = ("", "modelnet40_normal_resampled")


@register("modelnet40")
class ModelNet40(BenchmarkSource):
    """ModelNet40: shapes of 40 classes; the caption is the class.

    Args:
        split: Published split, train or test.
    """

    name = "modelnet40"
    layouts = (
        Layout("off", ("", "ModelNet40"), ("*/{split}/*.off",), "z", _off_entries, _off_cloud),
        Layout(
            "text",
            _TEXT_HOMES,
            ("modelnet40_{split}.txt", _NAMES, "*/*.txt"),
            "y",
            _text_entries,
            _text_cloud,
        ),
        Layout(
            "dat", _TEXT_HOMES, ("modelnet40_{split}_*pts_fps.dat", _NAMES), "y", _dat_entries, _dat_cloud
        ),
        Layout(
            "h5",
            ("", "modelnet40_ply_hdf5_2048"),
            ("ply_data_{split}*.h5", "shape_names.txt"),
            "y",
            _h5_entries,
            h5_cloud,
        ),
        Layout(
            "openshape",
            ("", "modelnet40", "meta_data/modelnet40"),
            ("{split}_pc.npy", "{split}_split.json"),
            "z",
            _openshape_entries,
            _dict_cloud,
        ),
        Layout(
            "ulip2",
            _TEXT_HOMES,
            ("modelnet40_colored_10k_pc.npy", "modelnet40_{split}_split_10k_colored.json"),
            "y",
            _ulip2_entries,
            _dict_cloud,
        ),
    )
    download = (
        "Download ModelNet40.zip from modelnet.cs.princeton.edu, or modelnet40_normal_resampled.zip or "
        "modelnet40_ply_hdf5_2048.zip from shapenet.cs.stanford.edu/media, or the files of Point-BERT, "
        "OpenShape or ULIP from their pages; for academic research only, the shapes belong to their authors"
    )
    license = "LicenseRef-ModelNet"

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        split: str = "test",
        layout: str | None = None,
        up: str | None = None,
        size: int | None = None,
    ) -> None:
        super().__init__(root, layout, up, size)
        self._one_of("split", split, ("train", "test"))
        self.choices = {"split": split}

    def fingerprint(self) -> str:
        """As of every benchmark, with the readers of meshes."""
        return hash_lines([super().fingerprint(), readers_fingerprint()])
