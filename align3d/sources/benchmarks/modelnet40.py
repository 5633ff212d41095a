"""ModelNet40 in the layouts that its users pass on: OFF, text, ``.dat``, HDF5, OpenShape's and ULIP-2's."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from align3d.errors import DataError, RejectedItem
from align3d.hashing import hash_bytes
from align3d.sources.benchmarks.hdf5_arrays import h5_cloud, h5_entries
from align3d.sources.benchmarks.published import PublishedSource, published_source
from align3d.sources.benchmarks.published_layout import Cloud, Entry, Layout, Publication, Shape, visible
from align3d.sources.benchmarks.published_values import (
    class_names,
    cloud_of,
    kept_untrusted,
    labeled,
    number_lines,
    read_json,
)
from align3d.sources.surface import read_points

TERMS = ("LicenseRef-ModelNet", "for academic research only, the shapes belong to their authors")
"""License of ModelNet, and of all that is made of it."""
_NAMES = ("shape_names.txt", "modelnet40_shape_names.txt")
_COLORED = "modelnet40_colored_10k_pc.npy"


def modelnet_names(home: Path, given: str | os.PathLike[str] | None) -> list[str]:
    """Names of ModelNet40's classes in the order of their numbers, for files that hold numbers alone.

    They may lie in the folder of the files, or one or two above.

    Args:
        home: The folder.
        given: File that the user names instead.

    Raises:
        DataError: There is no such file.
    """
    if given is not None:
        return class_names(Path(given).expanduser())
    for folder in (home, home.parent, home.parent.parent):
        for name in _NAMES:
            if (folder / name).is_file():
                return class_names(folder / name)
    raise DataError(
        f"{home}: numbers of classes without names; put shape_names.txt of modelnet40_ply_hdf5_2048 "
        "there, or set data.names to it"
    )


def _off_entries(source: ModelNet40) -> Iterator[Entry]:
    for path in visible(source.base.glob(f"*/{source.split}/*.off"), source.base):
        file = path.relative_to(source.base)
        yield Entry(file.with_suffix("").as_posix(), file.as_posix(), file.parts[0])


def _off_cloud(shape: Shape) -> Cloud:
    hashed = hash_bytes(shape.path.read_bytes())
    try:
        found = read_points(shape.path, shape.points, shape.rng, shape.source.base)
    except RejectedItem as rejected:
        raise RejectedItem(f"{shape.where}: {rejected.reason}") from rejected
    return Cloud(found.points, content_hash=hashed, notes=found.notes)


def _text_entries(source: ModelNet40) -> Iterator[Entry]:
    names = class_names(source.base / _NAMES[1])
    listed = source.base / f"modelnet40_{source.split}.txt"
    for shape in class_names(listed):
        category, _, number = shape.rpartition("_")
        file = f"{category}/{shape}.txt"
        problem = ""
        if category not in names or not number.isdigit() or {*"/\\"} & {*shape}:
            problem = f"{listed.name} names {shape!r}, expected a class of {_NAMES[1]} and a number"
        elif not (source.base / file).is_file():
            problem = f"{listed.name} names {shape}, and there is no {file}"
        yield Entry(shape, file, category, problem=problem)


def _text_cloud(shape: Shape) -> Cloud:
    rows = number_lines(shape.path, shape.where, ("x", "y", "z", "nx", "ny", "nz"), delimiter=",")
    return cloud_of(rows, shape.where)


def _dat_entries(source: ModelNet40) -> list[Entry]:
    begin = f"modelnet40_{source.split}_"
    path = max(  # of several that with the most points of a shape
        source.base.glob(f"{begin}*pts_fps.dat"),
        key=lambda path: int(re.sub(r"\D", "", path.name.removeprefix(begin)) or 0),
    )
    numbers = [np.asarray(label).reshape(-1) for label in _dat(path)[1]]
    if any(len(number) != 1 for number in numbers):
        raise DataError(f"{path}: a label of several numbers, expected one")
    names = class_names(source.base / _NAMES[1])
    return labeled(source.split, [number[0] for number in numbers], names, path.name, path)


def _dat(path: Path) -> tuple[Sequence[Any], Sequence[Any]]:
    value = kept_untrusted(path)
    if not isinstance(value, list | tuple) or len(value) != 2 or len(value[0]) != len(value[1]):
        raise DataError(f"{path}: expected two lists of equal length, of clouds and of labels")
    return value[0], value[1]


def _dat_cloud(shape: Shape) -> Cloud:
    return cloud_of(_dat(shape.path)[0][shape.row], shape.where)


def _h5_entries(source: ModelNet40) -> Iterator[Entry]:
    names = class_names(source.base / _NAMES[0])
    paths = source.base.glob(f"ply_data_{source.split}*.h5")
    for path in sorted(paths, key=lambda path: int(re.sub(r"\D", "", path.stem) or 0)):
        yield from h5_entries(source.base, path.name, names)


def _listed_entries(source: ModelNet40, array: str, listed: str) -> Iterator[Entry]:
    """Rows of an array of dicts, with a JSON list that says what each is."""
    path = source.base / listed
    clouds, rows = kept_untrusted(source.base / array), read_json(path, list)
    if not all(isinstance(row, dict) and "category" in row for row in rows):
        raise DataError(f"{path}: expected a list of objects with a category")
    if len(rows) != len(clouds):
        raise DataError(f"{path}: {len(rows)} shapes, and {array} has {len(clouds)}; from two versions?")
    for number, row in enumerate(rows):
        name = str(row.get("name", f"{source.split}/{number:05d}"))
        yield Entry(name, array, str(row["category"]), row=number)


def _openshape_entries(source: ModelNet40) -> Iterator[Entry]:
    return _listed_entries(source, f"{source.split}_pc.npy", f"{source.split}_split.json")


def _ulip2_entries(source: ModelNet40) -> Iterator[Entry]:
    return _listed_entries(source, _COLORED, f"modelnet40_{source.split}_split_10k_colored.json")


def _dict_cloud(shape: Shape) -> Cloud:
    value = kept_untrusted(shape.path)[shape.row]
    if not isinstance(value, dict) or "xyz" not in value:
        raise RejectedItem(f"{shape.where}: expected a dict with xyz")
    return cloud_of(value["xyz"], shape.where, value.get("rgb"), 255.0)


@published_source("modelnet40")
class ModelNet40(PublishedSource):
    """ModelNet40: shapes of 40 classes; the caption is the class.

    Attributes:
        layout: How the files lie: off, text, dat, h5, openshape or ulip2; None: found by what is there.
        split: Part of the benchmark to read: test or train.
    """

    LAYOUTS = (
        Layout("off", ("*/{source.split}/*.off",), _off_entries, _off_cloud, "z", reads_meshes=True),
        Layout("text", ("modelnet40_{source.split}.txt", _NAMES[1], "*/*_*.txt"), _text_entries, _text_cloud),
        Layout("dat", ("modelnet40_{source.split}_*pts_fps.dat", _NAMES[1]), _dat_entries, _dat_cloud),
        Layout("h5", ("ply_data_{source.split}*.h5", _NAMES[0]), _h5_entries, h5_cloud),
        Layout(
            "openshape",
            ("{source.split}_pc.npy", "{source.split}_split.json"),
            _openshape_entries,
            _dict_cloud,
            "z",
            folders=("*", "meta_data/modelnet40"),
        ),
        Layout(
            "ulip2",
            (_COLORED, "modelnet40_{source.split}_split_10k_colored.json"),
            _ulip2_entries,
            _dict_cloud,
        ),
    )
    PUBLISHED = Publication(
        "ModelNet40.zip, modelnet40_normal_resampled.zip, modelnet40_ply_hdf5_2048.zip or the files of "
        "Point-BERT, OpenShape or ULIP",
        "modelnet.cs.princeton.edu, shapenet.cs.stanford.edu/media or the pages of these projects",
        *TERMS,
    )
