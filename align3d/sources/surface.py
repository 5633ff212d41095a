"""Colored points of meshes and point clouds: scenes sampled by area, their colors looked up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from align3d.errors import RejectedItem
from align3d.record import MISSING_COLOR
from align3d.sampling import resample_cloud, sample_surface
from align3d.sources.meshes.scene import Bytes, CloudPart, Floats, MeshPart, Scene
from align3d.sources.meshes.scene_readers import read_scene


@dataclass(frozen=True)
class ColoredPoints:
    """Points of a shape in the file's axes and unit.

    Attributes:
        points: f64[P, 3].
        colors: u8[P, 3].
        part: i16[P], index into ``part_names`` or -1.
        part_names: Names of the parts, where the file gives names.
        corners: f64[2, 3], least and greatest coordinates of the whole shape.
        lost: Why colors of the file were dropped, a line each.
        unit_m: Meters of one unit, where the file or its format says so.
        notes: What else was guessed in reading, a line each.
    """

    points: Floats
    colors: Bytes
    part: NDArray[np.int16]
    part_names: tuple[str, ...]
    corners: Floats
    lost: tuple[str, ...] = ()
    unit_m: float | None = None
    notes: tuple[str, ...] = ()


def read_points(path: Path, count: int, rng: np.random.Generator, root: Path | None = None) -> ColoredPoints:
    """Sample a file's surface, or resample its cloud.

    Args:
        path: A mesh, scene or point cloud.
        count: Number of points P.
        rng: The item's own generator.
        root: Folder that files which this one names must lie below; None: the file's own.

    Raises:
        RejectedItem: The file cannot be read, or holds no surface and no cloud.
    """
    with np.errstate(all="ignore"):  # what is NaN or infinite is rejected below
        return sample_scene(read_scene(path, path.parent if root is None else root), count, rng)


def sample_scene(scene: Scene, count: int, rng: np.random.Generator) -> ColoredPoints:
    """Sample a scene's surface; where it has none, resample its clouds.

    Args:
        scene: What a file holds.
        count: Number of points P.
        rng: The item's own generator.

    Raises:
        RejectedItem: The scene holds no surface and no cloud, or one that is not sound.
    """
    meshes = [part for part in scene.parts if isinstance(part, MeshPart) and len(part.faces)]
    clouds = [part for part in scene.parts if isinstance(part, CloudPart) and len(part.points)]
    if meshes:
        return _sample_meshes(meshes, scene, count, rng)
    if clouds:
        return _resample_clouds(clouds, scene, count, rng)
    raise RejectedItem("no geometry in the file: empty or truncated")


def _sample_meshes(
    meshes: list[MeshPart], scene: Scene, count: int, rng: np.random.Generator
) -> ColoredPoints:
    for mesh in meshes:
        if mesh.faces.min() < 0 or mesh.faces.max() >= len(mesh.vertices):
            raise RejectedItem("a face names a vertex that is not there: damaged or truncated?")
    triangles = np.concatenate([mesh.vertices[mesh.faces] for mesh in meshes])
    points, face, weights = sample_surface(triangles, count, rng)
    first_face = np.concatenate([[0], np.cumsum([len(mesh.faces) for mesh in meshes])])
    mesh_of_point = np.searchsorted(first_face, face, side="right") - 1
    colors = np.full((count, 3), MISSING_COLOR, dtype=np.uint8)
    for number in np.unique(mesh_of_point):
        mesh, here = meshes[number], mesh_of_point == number
        own_face = face[here] - first_face[number]
        colors[here] = mesh.appearance.colors(own_face, mesh.faces[own_face], weights[here])
    names, label = _labels([mesh.name for mesh in meshes])
    flat = triangles.reshape(-1, 3)
    corners = np.stack([flat.min(axis=0), flat.max(axis=0)])
    label = label[mesh_of_point]
    return ColoredPoints(points, colors, label, names, corners, scene.lost, scene.unit_m, scene.notes)


def _resample_clouds(
    clouds: list[CloudPart], scene: Scene, count: int, rng: np.random.Generator
) -> ColoredPoints:
    points = np.concatenate([cloud.points for cloud in clouds])
    if not np.isfinite(points).all():
        raise RejectedItem("NaN or infinite points")
    colors = np.concatenate([_cloud_colors(cloud) for cloud in clouds])
    names, label = _labels([cloud.name for cloud in clouds])
    part = np.repeat(label, [len(cloud.points) for cloud in clouds])
    chosen = resample_cloud(len(points), count, rng)
    corners = np.stack([points.min(axis=0), points.max(axis=0)])
    return ColoredPoints(
        points[chosen], colors[chosen], part[chosen], names, corners, scene.lost, scene.unit_m, scene.notes
    )


def _cloud_colors(cloud: CloudPart) -> Bytes:
    """A cloud's colors u8[N, 3], gray where it has none."""
    if cloud.colors is not None:
        return cloud.colors
    return np.full((len(cloud.points), 3), MISSING_COLOR, dtype=np.uint8)


def _labels(names: list[str]) -> tuple[tuple[str, ...], NDArray[np.int16]]:
    """The different names of parts, and each part's index among them: i16, -1 for a part without a name."""
    index = {name: number for number, name in enumerate(dict.fromkeys(name for name in names if name))}
    if len(index) > np.iinfo(np.int16).max:
        raise RejectedItem(f"{len(index)} names of parts, expected at most {np.iinfo(np.int16).max}")
    return tuple(index), np.array([index.get(name, -1) for name in names], dtype=np.int16)
