"""Colored points of meshes and point clouds that trimesh reads: scenes flattened, textures looked up."""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from align3d.errors import RejectedItem
from align3d.record import MISSING_COLOR
from align3d.sampling import resample_cloud, sample_surface

Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]

# trimesh's readers raise whatever a broken file makes their code stumble over; these are the kinds of errors
# that come from data, while KeyboardInterrupt and the like go through.
_READER_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
#: Formats in which points without faces are meant as a cloud; elsewhere they are a mesh that lost its faces.
_CLOUD_FORMATS = frozenset({".ply", ".xyz", ".glb", ".gltf"})
_NUMBERED = re.compile(r"(?:geometry|mesh|object|default)?[_.]?\d*", re.IGNORECASE)


@dataclass(frozen=True)
class ColoredPoints:
    """Points of a shape in the file's axes and unit.

    Attributes:
        points: f64[P, 3].
        colors: u8[P, 3].
        part: i16[P], index into ``part_names`` or -1.
        part_names: Names of the geometries, where the file gives names.
        corners: f64[2, 3], least and greatest coordinates of the whole shape.
    """

    points: Floats
    colors: Bytes
    part: NDArray[np.int16]
    part_names: tuple[str, ...]
    corners: Floats


def formats() -> frozenset[str]:
    """Suffixes of the mesh formats that can be read here, such as ".glb"."""
    from trimesh.exchange.load import mesh_formats

    return frozenset(f".{name}" for name in mesh_formats())


def read_points(path: Path, count: int, rng: np.random.Generator) -> ColoredPoints:
    """Sample a file's surface, or resample its cloud.

    Args:
        path: A mesh, scene or point cloud.
        count: Number of points P.
        rng: The item's own generator.

    Raises:
        RejectedItem: The file cannot be read, or holds no surface and no cloud.
    """
    import trimesh

    try:
        scene = trimesh.load_scene(path, process=False)
        placed = [
            (
                str(scene.graph[node][1]),
                scene.geometry[scene.graph[node][1]],
                np.asarray(scene.graph[node][0]),
            )
            for node in sorted(scene.graph.nodes_geometry)
        ]
    except _READER_ERRORS as error:
        reason = " ".join(str(error).split())[:200]
        raise RejectedItem(
            f"cannot be read: damaged or truncated? ({type(error).__name__}: {reason})"
        ) from error
    meshes = [(n, g, m) for n, g, m in placed if isinstance(g, trimesh.Trimesh) and len(g.faces)]
    clouds = [(n, g, m) for n, g, m in placed if isinstance(g, trimesh.PointCloud) and len(g.vertices)]
    if meshes:
        return _sample_meshes(meshes, count, rng, path.name)
    if clouds and path.suffix.lower() in _CLOUD_FORMATS:
        return _resample_clouds(clouds, count, rng, path.name)
    if not placed:
        raise RejectedItem("no geometry in the file: empty or truncated")
    raise RejectedItem("mesh without faces")


def _sample_meshes(
    meshes: list[tuple[str, Any, Floats]], count: int, rng: np.random.Generator, file_name: str
) -> ColoredPoints:
    vertices = [_placed(mesh.vertices, matrix) for _, mesh, matrix in meshes]
    faces = [np.asarray(mesh.faces, dtype=np.int64) for _, mesh, _ in meshes]
    for corners, indices in zip(vertices, faces, strict=True):
        if indices.min() < 0 or indices.max() >= len(corners):
            raise RejectedItem("a face names a vertex that is not there: damaged or truncated?")
    triangles = np.concatenate([corners[indices] for corners, indices in zip(vertices, faces, strict=True)])
    points, face, weights = sample_surface(triangles, count, rng)
    first_face = np.concatenate([[0], np.cumsum([len(indices) for indices in faces])])
    mesh_of_point = np.searchsorted(first_face, face, side="right") - 1
    colors = np.full((count, 3), MISSING_COLOR, dtype=np.uint8)
    for number, (_, mesh, _) in enumerate(meshes):
        here = mesh_of_point == number
        if here.any():
            own_face = face[here] - first_face[number]
            colors[here] = _surface_colors(mesh, own_face, faces[number][own_face], weights[here])
    names, label = _parts([name for name, _, _ in meshes], file_name)
    flat = triangles.reshape(-1, 3)
    corners = np.stack([flat.min(axis=0), flat.max(axis=0)])
    return ColoredPoints(points, colors, label[mesh_of_point], names, corners)


def _resample_clouds(
    clouds: list[tuple[str, Any, Floats]], count: int, rng: np.random.Generator, file_name: str
) -> ColoredPoints:
    points = np.concatenate([_placed(cloud.vertices, matrix) for _, cloud, matrix in clouds])
    if not np.isfinite(points).all():
        raise RejectedItem("NaN or infinite points")
    colors = np.concatenate([_cloud_colors(cloud) for _, cloud, _ in clouds])
    names, label = _parts([name for name, _, _ in clouds], file_name)
    part = np.repeat(label, [len(cloud.vertices) for _, cloud, _ in clouds])
    chosen = resample_cloud(len(points), count, rng)
    corners = np.stack([points.min(axis=0), points.max(axis=0)])
    return ColoredPoints(points[chosen], colors[chosen], part[chosen], names, corners)


def _placed(vertices: Any, matrix: Floats) -> Floats:
    """Vertices in the scene's axes: f64[V, 3]."""
    return np.asarray(vertices, dtype=np.float64) @ matrix[:3, :3].T + matrix[:3, 3]


def _parts(geometry_names: list[str], file_name: str) -> tuple[tuple[str, ...], NDArray[np.int16]]:
    """Part names, and the label of each geometry.

    A name that a reader made up (the file's own, ``geometry_0``) says nothing about a part, and a whole file
    of such names has no parts.
    """
    given = [name for name in geometry_names if name != file_name and not _NUMBERED.fullmatch(name)]
    if not given:
        return (), np.full(len(geometry_names), -1, dtype=np.int16)
    names = tuple(dict.fromkeys(given))
    label = [names.index(name) if name in names else -1 for name in geometry_names]
    return names, np.array(label, dtype=np.int16)


def _cloud_colors(cloud: Any) -> Bytes:
    """A cloud's colors u8[N, 3], gray where it has none."""
    colors = np.asarray(cloud.colors)
    if colors.ndim == 2 and len(colors) == len(cloud.vertices) and colors.shape[1] >= 3:
        return colors[:, :3].astype(np.uint8)
    return np.full((len(cloud.vertices), 3), MISSING_COLOR, dtype=np.uint8)


def _surface_colors(mesh: Any, face: NDArray[np.int64], corners: NDArray[np.int64], weights: Floats) -> Bytes:
    """Colors of points on a mesh: from its texture, its material, its faces or its vertices.

    Args:
        mesh: A trimesh.Trimesh.
        face: i64[P], the triangle of each point.
        corners: i64[P, 3], its vertices.
        weights: f64[P, 3], barycentric.

    Returns:
        u8[P, 3].
    """
    visual = mesh.visual
    kind = getattr(visual, "kind", None)
    if kind == "face":
        return np.asarray(visual.face_colors)[face, :3].astype(np.uint8)
    if kind == "vertex":
        blended = np.einsum(
            "pk,pkc->pc", weights, np.asarray(visual.vertex_colors)[corners, :3].astype(np.float64)
        )
        return np.round(blended).astype(np.uint8)
    if kind != "texture":
        return np.full((len(face), 3), MISSING_COLOR, dtype=np.uint8)
    image, factor = _material(visual.material)
    if image is None or visual.uv is None or len(visual.uv) != len(mesh.vertices):
        return np.tile(factor, (len(face), 1)).astype(np.uint8)
    uv = np.einsum("pk,pkc->pc", weights, np.asarray(visual.uv, dtype=np.float64)[corners, :2])
    texel = _lookup(image, uv)
    return np.round(texel * (factor / 255.0)).astype(np.uint8)


def _material(material: Any) -> tuple[Bytes | None, Floats]:
    """A material's image u8[H, W, 3] or None, and the color f64[3] in 0..255 that multiplies it."""
    import trimesh

    if isinstance(material, trimesh.visual.material.PBRMaterial):
        image, factor = material.baseColorTexture, material.baseColorFactor
        missing = 255.0  # glTF 2.0: both default to white
    else:
        image, factor = getattr(material, "image", None), getattr(material, "diffuse", None)
        missing = float(MISSING_COLOR)
        if image is not None:
            factor = None  # an MTL's Kd is what viewers show where there is no map_Kd
    pixels = np.asarray(image.convert("RGB")) if image is not None else None
    if factor is None:
        return pixels, np.full(3, 255.0 if pixels is not None else missing)
    color = np.asarray(factor)
    scale = 255.0 if np.issubdtype(color.dtype, np.floating) and color.max(initial=0.0) <= 1.0 else 1.0
    return pixels, color[:3].astype(np.float64) * scale


def _lookup(image: Bytes, uv: Floats) -> Floats:
    """The pixels at texture coordinates [P, 2] (v upwards, repeated outside 0..1): f64[P, 3]."""
    height, width = image.shape[:2]
    wrapped = np.nan_to_num(uv) % 1.0
    column = np.minimum((wrapped[:, 0] * width).astype(np.int64), width - 1)
    row = np.minimum(((1.0 - wrapped[:, 1]) * height).astype(np.int64), height - 1)
    return image[row, column].astype(np.float64)
