"""Values and lists of benchmarks' files: clouds, labels, names, JSON; every fault by name."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from align3d.errors import DataError, RejectedItem
from align3d.sources.benchmarks.published_layout import Cloud, Entry
from align3d.sources.benchmarks.restricted_pickle import load_untrusted
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


def cloud_of(points: Any, where: str, colors: Any = None, scale: float | None = None) -> Cloud:
    """Cloud of a table whose first three columns are x, y and z.

    Args:
        points: [N, 3] or more columns.
        where: The file and the place in it, for messages.
        colors: [N, 3]; None where there are none. Those that are no colors are lost, and the cloud says why.
        scale: What a color is multiplied by to be in 0 to 255; None: by what its values look like.

    Raises:
        RejectedItem: It is no such table of numbers, is empty or not finite.
    """
    array = numbers(points, where)
    if array.ndim != 2 or array.shape[1] < 3:
        raise RejectedItem(f"{where}: {array.dtype}{list(array.shape)}, expected points [N, 3]")
    if not len(array):
        raise RejectedItem(f"{where}: point cloud without points")
    found = Cloud(np.ascontiguousarray(array[:, :3], dtype=np.float64))
    if not np.isfinite(found.points).all():
        raise RejectedItem(f"{where}: NaN or infinite points")
    if colors is None:
        return found
    paint = numbers(colors, where)
    try:
        if paint.shape != found.points.shape:
            raise UnknownRange(f"colors {list(paint.shape)}, expected {list(found.points.shape)}")
        whole = to_255(paint) if scale is None else np.rint(paint.astype(np.float64) * scale)
        if not ((whole >= 0) & (whole <= 255)).all():
            most = 255 / (scale or 1.0)
            raise UnknownRange(f"colors from {paint.min():g} to {paint.max():g}, expected 0 to {most:g}")
    except UnknownRange as error:
        return replace(found, lost=(f"{where}: {error}",))
    return replace(found, colors=whole.astype(np.uint8))


def numbers(values: Any, where: str) -> NDArray[Any]:
    """An array of numbers.

    Raises:
        RejectedItem: It holds something else.
    """
    try:
        array = np.asarray(values)
    except ValueError as error:  # lists of unequal lengths
        raise RejectedItem(f"{where}: no array of numbers: {error}") from error
    if array.dtype.kind not in "fiub":
        raise RejectedItem(f"{where}: values of type {array.dtype}, expected numbers")
    return array


def number_lines(
    path: Path, where: str, columns: Sequence[str], delimiter: str | None = None
) -> NDArray[Any]:
    """Numbers f64[N, C] of a text file.

    Args:
        path: The file.
        where: What it is called in messages.
        columns: What stands in a line, one name each.
        delimiter: What stands between them; None: blanks.

    Raises:
        RejectedItem: It is damaged, or has other columns.
    """
    try:
        table = np.loadtxt(path, delimiter=delimiter, ndmin=2)
    except ValueError as error:
        raise RejectedItem(f"{where}: cut or damaged: {str(error).splitlines()[0]}") from error
    if table.shape[1:] != (len(columns),):
        raise RejectedItem(
            f"{where}: {list(table.shape)} numbers, expected {len(columns)} a line ({' '.join(columns)})"
        )
    return table


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


def labeled(stem: str, labels: Any, names: Sequence[str], file: str, path: Path, **other: Any) -> list[Entry]:
    """Entries of the rows of a file, with their class by its number; a number without a name is a problem.

    Args:
        stem: What the ids begin with.
        labels: [N] or [N, 1], whole numbers.
        names: Names of the classes.
        file: The file of the clouds, relative to the folder where the layout begins.
        path: The file of the labels, for messages.
        other: Further fields of each entry.

    Raises:
        DataError: The labels are not such numbers.
    """
    flat = np.asarray(labels)
    if flat.ndim not in (1, 2) or flat.size != len(flat) or flat.dtype.kind not in "iuf":
        raise DataError(f"{path}: labels {flat.dtype}{list(flat.shape)}, expected whole numbers [N]")
    entries = []
    for row, label in enumerate(flat.reshape(-1).tolist()):
        known = 0 <= label < len(names) and label == int(label)  # NaN is neither
        problem = "" if known else f"{path.name}, row {row}: label {label} with {len(names)} names of classes"
        category = names[int(label)] if known else ""
        entries.append(Entry(f"{stem}/{row:05d}", file, category, row=row, problem=problem, **other))
    return entries


def class_names(path: Path) -> list[str]:
    """Names of classes, one a line; a label is the number of its line from 0.

    Raises:
        DataError: The file cannot be read, is empty or names a class twice.
    """
    names = lines_of(path)
    if not names or len(set(names)) < len(names):
        what = "a name stands twice" if names else "no names"
        raise DataError(f"{path}: {what}, expected one class a line")
    return names


def read_json(path: Path, kind: type) -> Any:
    """Content of a JSON file: a ``dict`` or a ``list``.

    Raises:
        DataError: The file is missing or damaged, or holds something else.
    """
    text = read_text(path)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged: {error}") from error
    if not isinstance(value, kind):
        raise DataError(f"{path} holds a {type(value).__name__}, expected a {kind.__name__} as published")
    return value


def lines_of(path: Path) -> list[str]:
    """Lines of a list that are not blank, without blanks around them; errors as `read_text`."""
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]


def read_text(path: Path) -> str:
    """Text of a list of a benchmark.

    Raises:
        DataError: The file is missing, or no UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is damaged: {error}") from error


def kept_untrusted(path: Path) -> Any:
    """What `load_untrusted` reads; the last files stay in memory, as each item of one is read by itself.

    Raises:
        DataError: See `load_untrusted`.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    return _kept(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=2)
def _kept(path: Path, size: int, changed: int) -> Any:
    return load_untrusted(path)
