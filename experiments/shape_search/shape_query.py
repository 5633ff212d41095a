"""Shape that asks: a mesh or a cloud in a file, read as a dataset's are and encoded by the run's model."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import torch

from align3d.errors import DataError, RejectedItem, UserError
from align3d.record import Record
from align3d.sources.folder import FolderSource
from align3d.sources.meshes.scene_readers import formats
from align3d.sources.vrml import TENTH_INCH_M
from experiments.shape_search.library_files import LibraryHeader
from models import AlignmentModel, ModelConfig, PointHierarchy, prepare_shapes

STEP = (".step", ".stp")
VRML = (".wrl", ".vrml")


def encoded_shape(
    path: Path,
    model: AlignmentModel,
    header: LibraryHeader,
    *,
    unit_m: float | None = None,
    up: str | None = None,
) -> PointHierarchy:
    """The shape in a file under a model, batch ``[1]``.

    Args:
        path: A mesh or a point cloud.
        model: In evaluation mode.
        header: Of the library that is asked, whose shapes stand in the same way.
        unit_m: Unit of the file in meters; None: as its format has it, or KiCad's of VRML in its library.
        up: Axis that points up in it; None: as its format has it.

    Raises:
        UserError: The file cannot be read.
    """
    if unit_m is None and header.name == "kicad" and path.suffix.lower() in VRML:
        unit_m = TENTH_INCH_M  # the library's own models, as they are installed
    record = read_shape(path, header.points, unit_m=unit_m, up=up)
    points = np.empty_like(record.points)
    axis = "xyz".index(header.up_axis)
    points[:, [(axis + 1) % 3, (axis + 2) % 3, axis]] = record.points
    size = np.empty_like(record.size_m)
    size[[(axis + 1) % 3, (axis + 2) % 3, axis]] = record.size_m
    cloud, colors, extent = (torch.from_numpy(part[None].copy()) for part in (points, record.colors, size))
    with torch.no_grad():
        return model.encode_shapes(prepare_shapes(cloud, colors, extent, ModelConfig(**header.model)))


def read_shape(path: Path, points: int, *, unit_m: float | None = None, up: str | None = None) -> Record:
    """The shape in a file, z up.

    Args:
        path: As `encoded_shape`.
        points: How many points it is sampled by.
        unit_m: As `encoded_shape`.
        up: As `encoded_shape`.

    Raises:
        UserError: There is no such file, its format is not read, or what it holds is damaged.
    """
    if not path.is_file():
        raise UserError(f"shape={path}: no such file; expected a mesh or a point cloud")
    suffix, readable = path.suffix.lower(), formats()
    if suffix in STEP and importlib.util.find_spec("cascadio") is None:
        raise UserError(
            f"shape={path}: STEP is read by cascadio, which is not installed; pip install cascadio, "
            "or give a mesh or a cloud (.glb, .obj, .ply, .stl, .off)"
        )
    if suffix not in readable:
        raise UserError(f"shape={path}: format {suffix!r} is not read; known: {', '.join(sorted(readable))}")
    try:
        source = FolderSource(path.parent)
        return source.read(source.item_of(path.name, path.stem, unit_m=unit_m, up=up), points, 0)
    except RejectedItem as error:
        raise UserError(f"shape={path}: {error.reason}") from error
    except DataError as error:
        raise UserError(f"shape={path}: {error}") from error
