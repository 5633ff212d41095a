"""Solid colored voxels of Text2Shape, in NRRD or ``.npz``: points on their outer faces."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from align3d.errors import RejectedItem
from align3d.hashing import hash_bytes
from align3d.sampling import Floats, sample_surface
from align3d.sources.benchmarks.published_layout import Cloud, Shape
from align3d.sources.benchmarks.published_values import optional

MOST_BYTES = 4 * 256**3
"""Values of the largest voxelization that is published."""
_HEADER = 1024
"""Bytes that an ``.npy`` file may have before its values."""


def nrrd_cloud(shape: Shape) -> Cloud:
    """Points on the outer faces of the voxels of an NRRD file.

    Raises:
        RejectedItem: The file is damaged, or holds other values.
    """
    nrrd = optional("nrrd")
    try:
        header = nrrd.read_header(str(shape.path))
        apart = "data file" in header or "datafile" in header
        size = math.prod(map(int, header["sizes"]))
        if not apart and size <= MOST_BYTES:
            voxels, _ = nrrd.read(str(shape.path))
    except Exception as error:  # whatever a damaged header or body raises
        raise RejectedItem(f"{shape.path.name}: {_damage(error)}") from error
    if apart:
        raise RejectedItem(
            f"{shape.path.name}: its voxels are in another file, expected them behind the header"
        )
    if size > MOST_BYTES:
        raise RejectedItem(f"{shape.path.name}: {size} values, expected at most {MOST_BYTES}")
    return _on_faces(voxels, shape)


def npz_cloud(shape: Shape) -> Cloud:
    """Points on the outer faces of the voxels of TriCoLo's ``.npz``, which has them as the NRRD file does.

    Raises:
        RejectedItem: The file is damaged, lacks the voxels of that resolution, or holds other values.
    """
    name = f"voxel{shape.source.resolution}"
    try:
        with zipfile.ZipFile(shape.path) as archive:
            sizes = {one.filename.removesuffix(".npy"): one.file_size for one in archive.infolist()}
        if sizes.get(name, 0) <= MOST_BYTES + _HEADER and name in sizes:
            arrays: Mapping[str, NDArray[np.uint8]] = np.load(shape.path, allow_pickle=False)
            voxels = arrays[name]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise RejectedItem(f"{shape.where}: {_damage(error)}") from error
    if name not in sizes:
        raise RejectedItem(f"{shape.where}: no array {name!r}, it has {', '.join(sizes) or 'none'}")
    if sizes[name] > MOST_BYTES + _HEADER:
        raise RejectedItem(f"{shape.where}: {sizes[name]} bytes of {name}, expected at most {MOST_BYTES}")
    return _on_faces(voxels, shape)


def _damage(error: Exception) -> str:
    reason = str(error).strip().partition("\n")[0]
    return f"damaged: {reason or type(error).__name__}"


def _on_faces(voxels: NDArray[np.uint8], shape: Shape) -> Cloud:
    """Points on the outer faces of solid voxels, with the voxels' colors.

    The content is the file, as the surface is drawn anew for each seed.
    """
    where = shape.path.name
    if voxels.ndim != 4 or voxels.shape[0] != 4 or voxels.dtype != np.uint8:
        raise RejectedItem(f"{where}: {voxels.dtype}{list(voxels.shape)}, expected uint8 RGBA (4, a, b, c)")
    grid = np.moveaxis(voxels, 0, -1).transpose(2, 0, 1, 3)  # (a, b, c) -> (c, a, b), a rotation
    solid: NDArray[np.bool_] = grid[..., 3] > 0
    if not solid.any():  # some writers leave the opacity out
        solid = grid[..., :3].max(axis=-1) > 0
    if not solid.any():
        raise RejectedItem(f"{where}: no voxel that is not empty")
    triangles, voxel = _faces(solid)
    points, face, _ = sample_surface(triangles, shape.points, shape.rng)
    return Cloud(
        points,
        grid[..., :3][tuple(voxel[face].T)],
        content_hash=hash_bytes(np.ascontiguousarray(voxels).tobytes()),
    )


def _faces(solid: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.int64]]:
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
