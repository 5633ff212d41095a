"""Shape that asks: its cloud, as read from a file, encoded by the run's model."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from align3d.sources.vrml import TENTH_INCH_M
from experiments.shape_search.library_files import LibraryHeader
from experiments.shape_search.shape_file import read_shape
from models import AlignmentModel, ModelConfig, PointHierarchy, prepare_shapes

VRML = (".wrl", ".vrml")


class ShapeCloud(NamedTuple):
    """A shape as it was read, z up.

    Attributes:
        name: Of its file, for people.
        points: ``[P, 3]`` in the unit sphere.
        colors: uint8 ``[P, 3]``.
        size_m: ``[3]`` bounding box in meters.
    """

    name: str
    points: NDArray[np.floating]
    colors: NDArray[np.uint8]
    size_m: NDArray[np.float32]


def shape_cloud(
    path: Path, header: LibraryHeader, *, unit_m: float | None = None, up: str | None = None
) -> ShapeCloud:
    """The shape in a file, sampled as those of a library are.

    Args:
        path: A mesh or a point cloud.
        header: Of the library that is asked.
        unit_m: Unit of the file in meters; None: as its format has it, or KiCad's of VRML in its library.
        up: Axis that points up in it; None: as its format has it.

    Raises:
        UserError: The file cannot be read.
    """
    unit_m = unit_of(header, path.suffix) if unit_m is None else unit_m
    record = read_shape(path, header.points, unit_m=unit_m, up=up)
    return ShapeCloud(str(path), record.points, record.colors, record.size_m)


def unit_of(header: LibraryHeader, suffix: str) -> float | None:
    """Meters of the unit that files of a format have among a library's own; None where the format says it."""
    return TENTH_INCH_M if header.name == "kicad" and suffix.lower() in VRML else None


def encoded_cloud(cloud: ShapeCloud, model: AlignmentModel, header: LibraryHeader) -> PointHierarchy:
    """A shape under a model, batch ``[1]``.

    Args:
        cloud: The shape.
        model: In evaluation mode.
        header: Of the library that is asked, whose shapes stand in the same way.
    """
    points = np.empty_like(cloud.points)
    axis = "xyz".index(header.up_axis)
    points[:, [(axis + 1) % 3, (axis + 2) % 3, axis]] = cloud.points
    size = np.empty_like(cloud.size_m)
    size[[(axis + 1) % 3, (axis + 2) % 3, axis]] = cloud.size_m
    xyz, colors, extent = (torch.from_numpy(part[None].copy()) for part in (points, cloud.colors, size))
    with torch.no_grad():
        return model.encode_shapes(prepare_shapes(xyz, colors, extent, ModelConfig(**header.model)))
