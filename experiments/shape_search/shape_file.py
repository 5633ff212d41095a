"""File of a shape that asks: a mesh or a cloud, read as those of a dataset are. It needs no PyTorch."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from align3d.errors import DataError, RejectedItem, UserError
from align3d.record import Record
from align3d.sources.folder import FolderSource
from align3d.sources.meshes.scene_readers import formats

STEP = (".step", ".stp")


def read_shape(path: Path, points: int, *, unit_m: float | None = None, up: str | None = None) -> Record:
    """The shape in a file, z up.

    Args:
        path: A mesh or a point cloud.
        points: How many points it is sampled by.
        unit_m: Unit of the file in meters; None: as its format has it.
        up: Axis that points up in it; None: as its format has it.

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
