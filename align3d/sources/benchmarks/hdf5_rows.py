"""Rows of HDF5 files: one shape at a time, every fault by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from align3d.errors import DataError, RejectedItem
from align3d.sources.benchmarks.published import optional


def column(path: Path, name: str, source: str) -> NDArray[Any]:
    """A whole dataset of small values, such as the labels of a split.

    Raises:
        DataError: The file is missing or damaged, or has no such dataset.
    """
    h5py = optional("h5py")
    try:
        with h5py.File(path, "r") as file:
            return np.asarray(file[name][()])
    except KeyError as error:
        raise DataError(f"data={source}: {path} has no dataset {name!r}") from error
    except OSError as error:
        raise DataError(f"data={source}: {path} is missing or damaged: {error}") from error


def row(path: Path, name: str, place: int) -> NDArray[Any]:
    """One row of a dataset.

    Raises:
        RejectedItem: The file is damaged, or has no such dataset or row.
    """
    h5py = optional("h5py")
    try:
        with h5py.File(path, "r") as file:
            return np.asarray(file[name][place])
    except (KeyError, IndexError, ValueError) as error:
        raise RejectedItem(f"{path.name}: no row {place} of {name!r}") from error
    except OSError as error:
        raise RejectedItem(f"{path.name}: damaged: {error}") from error


def has(path: Path, name: str, source: str) -> bool:
    """Whether a file has a dataset.

    Raises:
        DataError: The file is missing or damaged.
    """
    h5py = optional("h5py")
    try:
        with h5py.File(path, "r") as file:
            return name in file
    except OSError as error:
        raise DataError(f"data={source}: {path} is missing or damaged: {error}") from error
