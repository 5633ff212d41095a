"""Reader of every mesh format that trimesh knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from align3d.errors import RejectedItem
from align3d.record import MISSING_COLOR
from align3d.sources.meshes.scene import (
    Appearance,
    Bytes,
    CloudPart,
    Floats,
    MeshPart,
    Scene,
    Texture,
    given_name,
)
from align3d.sources.meshes.texture_images import (
    MOST_KEPT_BYTES,
    UnreadableImage,
    pixels,
    without_pillows_limit,
)

#: Formats in which points without faces are meant as a cloud; elsewhere they are a mesh that lost its faces.
_CLOUD_FORMATS = frozenset({".ply", ".xyz"})
#: Formats that come as glTF, which is in meters, from the library that reads them.
_IN_METERS = frozenset({".step", ".stp"})


def formats() -> frozenset[str]:
    """Suffixes of the formats that trimesh reads here, such as ".glb"."""
    from trimesh.exchange.load import mesh_formats

    return frozenset(f".{name}" for name in mesh_formats())


def read_with_trimesh(path: Path, root: Path) -> Scene:
    """Read a file, its scene flattened with all transforms.

    Args:
        path: A mesh, scene or point cloud.
        root: Folder that files which this one names must lie below; trimesh looks beside the file alone.

    Raises:
        RejectedItem: The file holds points without faces in a format of meshes.
        Exception: Whatever trimesh stumbles over.
    """
    import trimesh

    with without_pillows_limit():  # else larger images are left out without a word
        scene = trimesh.load_scene(path, process=False)
    images: dict[int, Bytes | None] = {}
    lost: list[str] = []
    parts: list[MeshPart | CloudPart] = []
    nodes = sorted(scene.graph.nodes_geometry)
    for node in nodes:
        matrix, geometry_name = scene.graph[node]
        geometry = scene.geometry[geometry_name]
        name = given_name(str(geometry_name), path.name)
        if isinstance(geometry, trimesh.Trimesh) and len(geometry.faces):
            vertices = _placed(geometry.vertices, np.asarray(matrix))
            faces = np.asarray(geometry.faces, dtype=np.int64)
            parts.append(MeshPart(name, vertices, faces, _appearance(geometry, images, len(nodes), lost)))
        elif isinstance(geometry, trimesh.PointCloud) and len(geometry.vertices):
            points = _placed(geometry.vertices, np.asarray(matrix))
            parts.append(CloudPart(name, points, _cloud_colors(geometry)))
    only_clouds = not any(isinstance(part, MeshPart) for part in parts)
    if nodes and only_clouds and (not parts or path.suffix.lower() not in _CLOUD_FORMATS):
        raise RejectedItem("mesh without faces")
    unit_m = 1.0 if path.suffix.lower() in _IN_METERS else _unit_m(scene.units)
    return Scene(tuple(parts), tuple(lost), unit_m)


def _unit_m(name: str | None) -> float | None:
    """Meters of the unit that a file names, as 3MF and COLLADA do."""
    import trimesh

    return None if name is None else float(trimesh.units.unit_conversion(name, "meters"))


def _placed(vertices: Any, matrix: Floats) -> Floats:
    """Vertices in the scene's axes: f64[V, 3]."""
    return np.asarray(vertices, dtype=np.float64) @ matrix[:3, :3].T + matrix[:3, 3]


def _cloud_colors(cloud: Any) -> Bytes | None:
    """A cloud's colors u8[N, 3]; None where it has none."""
    colors = np.asarray(cloud.colors)
    if colors.ndim == 2 and len(colors) == len(cloud.vertices) and colors.shape[1] >= 3:
        return colors[:, :3].astype(np.uint8)
    return None


def _appearance(mesh: Any, images: dict[int, Bytes | None], count: int, lost: list[str]) -> Appearance:
    """Appearance of a mesh: its texture, its material, its faces or its vertices.

    Args:
        mesh: A trimesh.Trimesh.
        images: Pixels by the identity of the image, so that a shared one is converted once; None where it
            cannot be.
        count: Most images that there can be, which share a bound of memory.
        lost: Where to say why an image cannot be had.
    """
    visual = mesh.visual
    kind = getattr(visual, "kind", None)
    if kind == "face":
        return Appearance(face_colors=np.asarray(visual.face_colors)[:, :3].astype(np.uint8))
    if kind == "vertex":
        return Appearance(vertex_colors=np.asarray(visual.vertex_colors)[:, :3].astype(np.uint8))
    if kind != "texture":
        return Appearance()
    image, factor = _material(visual.material)
    if image is None or visual.uv is None or len(visual.uv) != len(mesh.vertices):
        return Appearance(factor=factor)
    if id(image) not in images:
        try:
            images[id(image)] = pixels(image, most_kept=MOST_KEPT_BYTES // count)
        except UnreadableImage as error:
            images[id(image)] = None
            lost.append(f"texture of {visual.material.name!r}: {error}")
    shared = images[id(image)]
    if shared is None:
        return Appearance()
    uv = np.asarray(visual.uv, dtype=np.float64)[:, :2]
    return Appearance(factor=factor, texture=Texture(shared, uv))


def _material(material: Any) -> tuple[Any, Floats]:
    """A material's Pillow image or None, and the color f64[3] in 0..255 that multiplies it."""
    import trimesh

    if isinstance(material, trimesh.visual.material.PBRMaterial):
        image, factor = material.baseColorTexture, material.baseColorFactor
        missing = 255.0  # glTF 2.0: both default to white
    else:
        image, factor = getattr(material, "image", None), getattr(material, "diffuse", None)
        missing = float(MISSING_COLOR)
        if image is not None:
            factor = None  # an MTL's Kd is what viewers show where there is no map_Kd
    if factor is None:
        return image, np.full(3, 255.0 if image is not None else missing)
    color = np.asarray(factor)
    scale = 255.0 if np.issubdtype(color.dtype, np.floating) and color.max(initial=0.0) <= 1.0 else 1.0
    return image, color[:3].astype(np.float64) * scale
