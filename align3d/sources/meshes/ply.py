"""Reader of PLY: polygons and clouds with colors of vertices, of faces, or of an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from align3d.errors import RejectedItem
from align3d.sources.meshes.color_range import UnknownRange, to_255
from align3d.sources.meshes.linked_files import UnreadableLink
from align3d.sources.meshes.mtl import find_any_case
from align3d.sources.meshes.ply_elements import Element, PlyFile, Ragged, parse_ply
from align3d.sources.meshes.polygons import Triangles, triangulate
from align3d.sources.meshes.scene import (
    Appearance,
    Bytes,
    CloudPart,
    Floats,
    Ints,
    MeshPart,
    Scene,
    Texture,
)
from align3d.sources.meshes.text_encoding import decode_names, text_bytes
from align3d.sources.meshes.texture_images import FileImages, UnreadableImage

_COLORS = [
    ("red", "green", "blue"),
    ("diffuse_red", "diffuse_green", "diffuse_blue"),
    ("r", "g", "b"),
]
_SPLAT = ("f_dc_0", "f_dc_1", "f_dc_2")
_SPLAT_SCALE = 0.28209479177387814  # the constant spherical harmonic, 1 / (2 sqrt(pi))
_TEXTURE = [("s", "t"), ("u", "v"), ("texture_u", "texture_v")]


def read_ply(path: Path, root: Path) -> Scene:
    """Read a PLY file.

    Args:
        path: The file.
        root: Folder that its images must lie below.

    Raises:
        RejectedItem: The file is damaged, or has no vertices.
    """
    data = path.read_bytes()
    file = parse_ply(data if data.startswith(b"ply") else text_bytes(data))
    vertices = _columns(file.elements.get("vertex"), ("x", "y", "z"))
    if vertices is None:
        raise RejectedItem("a PLY file without vertices of x, y, z")
    lost: list[str] = []
    points = vertices.astype(np.float64)
    vertex_colors = _colors(file.elements["vertex"], lost)
    if "material" in file.elements and vertex_colors is None:
        lost.append("colors of the element material are not read")
    polygons = _polygons(file)
    if not len(polygons.sizes):
        cloud = None if vertex_colors is None else np.round(vertex_colors).astype(np.uint8)
        return Scene((CloudPart("", points, cloud),), tuple(lost))
    if polygons.values.min(initial=0) < 0 or polygons.values.max(initial=0) >= len(points):
        raise RejectedItem(f"a face names a vertex that is not there (of {len(points)}): damaged file?")
    cut = triangulate(points[polygons.values], polygons.sizes)
    faces = polygons.values[cut.corners]
    uv = _texture_coordinates(file, polygons, lost)
    parts: list[MeshPart] = []
    left = np.ones(len(faces), dtype=bool)
    if uv is not None:
        for image, here in _images(file, cut, path, root, lost):
            corners = cut.corners[here].reshape(-1)
            flat = np.arange(len(corners)).reshape(-1, 3)
            texture = Appearance(texture=Texture(image, uv[corners]))
            parts.append(MeshPart("", points[polygons.values[corners]], flat, texture))
            left &= ~here
    if left.any() or not parts:
        appearance = _untextured(file, vertex_colors, cut.polygon[left], lost)
        parts.append(MeshPart("", points, faces[left], appearance))
    return Scene(tuple(parts), tuple(dict.fromkeys(lost)), notes=tuple(cut.doubts))


def _columns(element: Element | None, names: tuple[str, ...]) -> NDArray[np.generic] | None:
    """Columns of an element side by side, [R, len(names)]; None where it lacks one."""
    if element is None or not all(name in element.columns for name in names):
        return None
    return np.stack([element.columns[name] for name in names], axis=1)


def _colors(element: Element, lost: list[str]) -> Floats | None:
    """Colors of an element's rows f64[R, 3] in 0..255; None where it has none."""
    for names in _COLORS:
        values = _columns(element, names)
        if values is not None:
            try:
                return to_255(values)
            except UnknownRange as error:
                lost.append(f"{', '.join(names)} of {element.name}: {error}")
                return None
    harmonics = _columns(element, _SPLAT)
    if harmonics is not None:  # Gaussian splats, seen from all sides
        seen = 0.5 + _SPLAT_SCALE * np.nan_to_num(harmonics.astype(np.float64))
        return np.round(np.clip(seen, 0.0, 1.0) * 255.0)
    strange = [name for name in element.columns if "red" in name or "color" in name or "colour" in name]
    if strange:
        lost.append(f"{', '.join(strange)} of {element.name}: expected red, green and blue")
    return None


def _polygons(file: PlyFile) -> Ragged:
    """Vertices of all polygons; triangle strips are taken apart."""
    for name, is_strip in (("face", False), ("tristrips", True)):
        element = file.elements.get(name)
        if element is None or not element.count:
            continue
        lists = [one for one in element.lists if one.startswith("vertex_ind")]
        if not lists:
            raise RejectedItem(f"a PLY file whose element {name} has no list of vertex_indices")
        found = element.lists[lists[0]]
        values = found.values.astype(np.int64)
        return _strips(values, found.sizes) if is_strip else Ragged(values, found.sizes)
    return Ragged(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))


def _strips(values: Ints, sizes: Ints) -> Ragged:
    """Triangles of strips, which -1 takes apart, as do the ends of lists."""
    apart = np.insert(values, np.cumsum(sizes), -1)
    triangles = np.stack([apart[:-2], apart[1:-1], apart[2:]], axis=1) if len(apart) > 2 else np.empty((0, 3))
    triangles = triangles[(triangles >= 0).all(axis=1)].astype(np.int64)
    return Ragged(triangles.reshape(-1), np.full(len(triangles), 3))


def _texture_coordinates(file: PlyFile, polygons: Ragged, lost: list[str]) -> Floats | None:
    """Texture coordinates of all polygons' corners f64[N, 2]; None where there are none."""
    face = file.elements.get("face")
    wedges = face.lists.get("texcoord") if face is not None else None
    if wedges is not None and len(wedges.values):
        if (wedges.sizes == 2 * polygons.sizes).all():
            return wedges.values.astype(np.float64).reshape(-1, 2)
        lost.append("texcoord: expected two numbers for each corner of a face")
    for names in _TEXTURE:
        values = _columns(file.elements["vertex"], names)
        if values is not None:
            return values.astype(np.float64)[polygons.values]
    return None


def _images(
    file: PlyFile, cut: Triangles, path: Path, root: Path, lost: list[str]
) -> list[tuple[Bytes, NDArray[np.bool_]]]:
    """Images that can be had, each with its triangles, bool[F]."""
    words = [comment.split(None, 1) for comment in file.comments]
    names = decode_names(
        [pair[1].strip() for pair in words if len(pair) == 2 and pair[0].lower() == b"texturefile"]
    )
    number = np.zeros(len(cut.polygon), dtype=np.int64)
    face = file.elements.get("face")
    if face is not None and "texnumber" in face.columns:
        number = face.columns["texnumber"][cut.polygon].astype(np.int64)
    found, decoder = [], FileImages(len(names))
    for index, name in enumerate(names):
        here = number == index
        if not here.any():
            continue
        try:
            found.append((decoder.decode(find_any_case(path, name, root).read_bytes()), here))
        except (UnreadableLink, UnreadableImage, OSError) as error:
            what = str(error) if isinstance(error, UnreadableLink) else f"{name!r}: {error}"
            lost.append(f"TextureFile: {what}")
    return found


def _untextured(file: PlyFile, vertex_colors: Floats | None, polygon: Ints, lost: list[str]) -> Appearance:
    """Colors of vertices, or those of faces where the vertices have none or one alone."""
    face = file.elements.get("face")
    face_colors = _colors(face, lost) if face is not None and face.count else None
    if face_colors is not None and (vertex_colors is None or not np.ptp(vertex_colors, axis=0).any()):
        return Appearance(face_colors=face_colors[polygon])
    return Appearance(vertex_colors=vertex_colors)
