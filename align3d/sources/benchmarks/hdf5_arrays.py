"""Arrays of HDF5 files of others: none that lies in another file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from align3d.errors import DataError
from align3d.sources.benchmarks.published_layout import Cloud, Entry, Shape
from align3d.sources.benchmarks.published_values import cloud_of, labeled, optional


def h5_array(path: Path, name: str, row: int | None = None) -> NDArray[Any]:
    """An array of an HDF5 file, or one of its rows.

    Raises:
        DataError: The file is damaged, lacks the array, or ``h5py`` is not installed.
    """
    with _opened(path) as file:
        link = file.get(name, getlink=True)
        if link is None:
            raise DataError(f"{path}: no array {name!r}, it has {', '.join(sorted(file)) or 'none'}")
        array = file[name] if type(link).__name__ == "HardLink" else None
        if array is None or getattr(array, "external", None) or getattr(array, "is_virtual", False):
            raise DataError(f"{path}: {name!r} lies in another file, which is not opened")
        if not hasattr(array, "shape"):
            raise DataError(f"{path}: {name!r} is no array")
        return np.asarray(array[()] if row is None else array[row])


def h5_has(path: Path, name: str) -> bool:
    """Whether an HDF5 file has something of that name; errors as `h5_array`."""
    with _opened(path) as file:
        return name in file


def h5_entries(base: Path, file: str, names: Sequence[str], **other: Any) -> list[Entry]:
    """Entries of the rows of a file below ``base``, with their class by its number in the array ``label``.

    Raises:
        DataError: See `h5_array` and `labeled`.
    """
    labels = h5_array(base / file, "label")
    return labeled(file.removesuffix(".h5"), labels, names, file, base / file, **other)


def h5_cloud(shape: Shape) -> Cloud:
    """The shape's row of the array ``data``."""
    return cloud_of(h5_array(shape.path, "data", shape.row), shape.where)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    h5py = optional("h5py")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, ValueError, KeyError, IndexError) as error:
        raise DataError(f"{path}: cut or damaged: {' '.join(str(error).split())}") from error
