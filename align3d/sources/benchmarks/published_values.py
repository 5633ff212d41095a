"""Values and lists of benchmarks' files: numbers, colors, labels, JSON, every fault by name."""

from __future__ import annotations

import importlib
import json
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from align3d.errors import DataError, RejectedItem
from align3d.sampling import Floats
from align3d.sources.benchmarks.published_files import h5_array
from align3d.sources.meshes.color_range import UnknownRange, to_255


def optional(module: str) -> Any:
    """A module that reads a format of the benchmarks and is installed with them.

    Raises:
        DataError: It is not there.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DataError(f"{module} is not installed; pip install 'align3d[benchmarks]'") from error


def is_below(base: Path, file: str) -> bool:
    """Whether a list names a file that is there, below the folder where the layout begins."""
    path = PurePosixPath(file)
    try:
        return not path.is_absolute() and ".." not in path.parts and (base / path).is_file()
    except OSError:  # a name that is too long
        return False


def points_of(values: Any, where: str) -> Floats:
    """Coordinates f64[N, 3] of the first three columns.

    Raises:
        RejectedItem: They are no table of numbers with three columns or more, or an empty one.
    """
    array = numbers(values, where)
    if array.ndim != 2 or array.shape[1] < 3:
        raise RejectedItem(f"{where}: {array.dtype}{list(array.shape)}, expected points [N, 3]")
    if not len(array):
        raise RejectedItem(f"{where}: point cloud without points")
    return array[:, :3].astype(np.float64)


def numbers(values: Any, where: str) -> NDArray[Any]:
    """An array of numbers.

    Raises:
        RejectedItem: It holds something else.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise RejectedItem(f"{where}: values of type {array.dtype}, expected numbers")
    return array


def colors_of(values: Any, count: int, where: str) -> tuple[NDArray[np.uint8] | None, tuple[str, ...]]:
    """Colors u8[N, 3] of values in 0 to 1 or 0 to 255; None, and why, where they are none."""
    array = numbers(values, where)
    if array.shape != (count, 3):
        return None, (f"{where}: colors {list(array.shape)}, expected [{count}, 3]",)
    try:
        return to_255(array).astype(np.uint8), ()
    except UnknownRange as error:
        return None, (f"{where}: {error}",)


def labels_of(values: Any, count: int, names: int, where: str) -> NDArray[np.int16]:
    """Part labels i16[N] in -1 to ``names - 1``.

    Raises:
        RejectedItem: They are as many as there are points not, or out of this range.
    """
    array = numbers(values, where).reshape(-1)
    if len(array) != count:
        raise RejectedItem(f"{where}: {len(array)} labels for {count} points")
    whole = array.astype(np.int64)
    if (whole != array).any() or whole.min(initial=0) < -1 or whole.max(initial=-1) >= names:
        raise RejectedItem(f"{where}: labels {array.min()}..{array.max()} for {names} parts")
    return whole.astype(np.int16)


def class_numbers(path: Path, name: str) -> list[int]:
    """Numbers of the classes in an array [N] or [N, 1] of an HDF5 file.

    Raises:
        DataError: The file is damaged, or the array holds something else.
    """
    array = h5_array(path, name)
    if array.dtype.kind not in "iu":
        raise DataError(f"{path}: {name!r} is {array.dtype}{list(array.shape)}, expected numbers of classes")
    found: list[int] = array.reshape(-1).tolist()
    return found


def read_json(path: Path, kind: type, name: str) -> Any:
    """Content of a JSON file of a benchmark.

    Args:
        path: The file.
        kind: ``dict`` or ``list``.
        name: The source's name.

    Raises:
        DataError: The file is missing or damaged, or holds something else.
    """
    try:
        value = json.loads(read_text(path, name))
    except (ValueError, RecursionError) as error:
        raise DataError(f"data={name}: {path} is damaged: {error}") from error
    if not isinstance(value, kind):
        raise DataError(
            f"data={name}: {path} holds a {type(value).__name__}, expected a {kind.__name__} as published"
        )
    return value


def read_text(path: Path, name: str) -> str:
    """Text of a list of a benchmark.

    Raises:
        DataError: The file is missing, or no UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"data={name}: {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"data={name}: {path} is damaged: {error}") from error
