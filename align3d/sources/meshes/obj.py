"""Reader of Wavefront OBJ: polygons of any shape, objects and groups as parts, colors of materials.

Format: Wavefront's "Object Files (.obj)" and "Material Library Format (.mtl)", with colors after vertices
(``v x y z r g b``) and ZBrush's ``#MRGB`` as they are in use.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from align3d.errors import RejectedItem
from align3d.sources.meshes.color_range import UnknownRange, to_255
from align3d.sources.meshes.mtl import Material, MaterialLibraries
from align3d.sources.meshes.number_lines import NumberRows, TextLines, parse_integers, words_per_line
from align3d.sources.meshes.polygons import triangulate
from align3d.sources.meshes.scene import Appearance, CloudPart, Floats, Ints, MeshPart, Scene
from align3d.sources.meshes.text_encoding import decode_names, text_bytes

_SAYS_NOTHING = re.compile(
    r"(?:geometry|mesh|object|group|shape|default|none|null|\(null\)|off)?[_. ]?\d*", re.IGNORECASE
)
_NOT_READ = (b"surf", b"curv", b"curv2", b"cstype", b"bsp", b"bzp", b"cdc", b"cdp", b"res", b"fo")
"""Statements of free-form and of obsolete geometry."""
_STATE = (b"o", b"g", b"usemtl", b"mtllib")
_PAINT = re.compile(rb"^#MRGB[ \t]+([0-9A-Fa-f]+)", re.MULTILINE)
_SLASH = ord("/")
_NOWHERE = 2**62


def read_obj(path: Path, root: Path) -> Scene:
    """Read an OBJ file.

    Args:
        path: The file.
        root: Folder that its material libraries and their images must lie below.

    Raises:
        RejectedItem: The file is damaged, holds free-form surfaces, or has neither faces nor points.
    """
    text = text_bytes(path.read_bytes())
    if b"\\\n" in text:
        text = text.replace(b"\\\n", b"  ")
    lines = TextLines(text)
    for word in _NOT_READ:
        if lines.begin_with(word).any():
            raise RejectedItem(f"the statement {word.decode()} is not read; save the shape as polygons (f)")
    is_vertex = lines.begin_with(b"v")
    vertex_rows = lines.numbers(is_vertex, 1)
    if len(vertex_rows.counts) and vertex_rows.counts.min() < 3:
        raise RejectedItem("a vertex of less than three coordinates: damaged or truncated?")
    vertices = vertex_rows.columns(0, 3)
    libraries = MaterialLibraries(path, root)
    vertex_colors = _vertex_colors(vertex_rows, text, libraries.lost)
    faces = _Faces(lines, is_vertex, len(vertices))
    if not len(faces.sizes):
        return _cloud(lines, vertices, vertex_colors, libraries.lost)
    state = _State(lines, faces.line, libraries)
    cut = triangulate(vertices[faces.vertex], faces.sizes)
    if not len(cut.polygon):
        raise RejectedItem("mesh without faces: all polygons have less than three corners")
    uv = _texture_coordinates(lines)
    if faces.texture.max(initial=-1) >= len(uv):
        raise RejectedItem("a face names a texture coordinate that is not there: damaged or truncated?")
    key = state.part[cut.polygon] * len(state.material_names) + state.material[cut.polygon]
    order = np.argsort(key, kind="stable")
    borders = np.flatnonzero(np.diff(key[order])) + 1
    parts: list[MeshPart | CloudPart] = []
    for chosen in np.split(order, borders):
        part, material = divmod(int(key[chosen[0]]), len(state.material_names))
        shape = _Shape(state.part_names[part], faces, vertices, vertex_colors, uv)
        parts += shape.colored(cut.corners[chosen], state.material_names[material], libraries)
    return Scene(tuple(parts), tuple(dict.fromkeys(libraries.lost)), notes=tuple(cut.doubts))


class _Faces:
    """Polygons of a file.

    Attributes:
        sizes: i64[M], number of corners of each.
        line: i64[M], the line of each.
        vertex: i64[N], the vertex of each corner of all polygons.
        texture: i64[N], the texture coordinate of each corner, -1 for none.
    """

    def __init__(self, lines: TextLines, is_vertex: NDArray[np.bool_], vertices: int) -> None:
        is_face = lines.begin_with(b"f")
        self.line: Ints = np.flatnonzero(is_face)
        text = lines.join(is_face, 1)
        if len(text) and (text == ord("#")).any():
            text = np.frombuffer(re.sub(rb"#[^\n]*", b"", text.tobytes()), dtype=np.uint8)
        self.sizes: Ints = words_per_line(text) if len(text) else np.empty(0, dtype=np.int64)
        total = int(self.sizes.sum())
        blank = text <= 32
        begins = np.flatnonzero(~blank & np.concatenate([[True], blank[:-1]])) if total else np.empty(0, int)
        slashes = np.flatnonzero(text == _SLASH)
        count = np.bincount(np.searchsorted(begins, slashes, side="right") - 1, minlength=total)[:total]
        if len(slashes) and (count.max() > 2 or slashes[0] < begins[0]):
            raise RejectedItem("a face with a corner of more than three numbers: damaged file?")
        raw = text.tobytes()
        if len(slashes):  # a number that is left out, as in 3//5 and 3/, becomes 0
            raw = raw.replace(b"//", b"/0/")
            raw = re.sub(rb"/(?=\s)", b"/0", raw).replace(b"/", b" ")
        numbers = parse_integers(raw)
        if len(numbers) != total + len(slashes):
            raise RejectedItem("a face whose numbers run into each other: damaged file?")
        first = np.arange(total) + np.cumsum(count) - count
        before = np.repeat(self.line, self.sizes)
        self.vertex = _absolute(numbers[first], is_vertex, before)
        if (self.vertex < 0).any() or (self.vertex >= vertices).any():
            raise RejectedItem(f"a face names a vertex that is not there (of {vertices}): damaged file?")
        self.texture = np.full(total, -1, dtype=np.int64)
        has = count > 0
        if has.any():
            is_texture = lines.begin_with(b"vt")
            self.texture[has] = _absolute(numbers[first[has] + 1], is_texture, before[has])


def _absolute(index: Ints, is_element: NDArray[np.bool_], line: Ints) -> Ints:
    """Indices from 0 of indices from 1; negative ones count backwards from their line, 0 becomes -1."""
    if (index < 0).any():
        seen = np.cumsum(is_element, dtype=np.int64)[line]
        index = np.where(index < 0, np.where(index >= -seen, seen + index + 1, _NOWHERE), index)
    return index - 1


class _State:
    """Names that hold for faces.

    Attributes:
        part: i64[M], index into the names of parts; ``part_names[0]`` is empty.
        material: i64[M], index into the names of materials; ``material_names[0]`` is empty.
    """

    def __init__(self, lines: TextLines, face_line: Ints, libraries: MaterialLibraries) -> None:
        ordered = np.sort(np.concatenate([np.flatnonzero(lines.begin_with(word)) for word in _STATE]))
        texts = decode_names([lines.line(number) for number in ordered.tolist()])
        objects, groups, materials = _Names(), _Names(), _Names()
        states = [(0, 0, 0)]
        for text in texts:
            word, *rest = text.split(None, 1)
            name = rest[0].strip() if rest else ""
            o, g, m = states[-1]
            if word == "o":
                o = objects.index(name)
            elif word == "g":
                g = groups.index(name)
            elif word == "usemtl":
                m = materials.index(name)
            else:
                libraries.read(name)
            states.append((o, g, m))
        table = np.array(states, dtype=np.int64)[np.searchsorted(ordered, face_line)]  # [M, 3]
        self.material, self.material_names = table[:, 2], materials.names
        self.part, self.part_names = _parts(table, objects.names, groups.names, materials.names)


class _Names:
    """Different names in the order of their first use, the empty one first."""

    def __init__(self) -> None:
        self.names = [""]
        self._numbers = {"": 0}

    def index(self, name: str) -> int:
        if name not in self._numbers:
            self._numbers[name] = len(self.names)
            self.names.append(name)
        return self._numbers[name]


def _parts(
    table: Ints, objects: list[str], groups: list[str], materials: list[str]
) -> tuple[Ints, list[str]]:
    """Part of each face i64[M], and the names of parts, the empty one first.

    A face's part is its object; where the faces of an object lie in several groups, or in no object, it is
    the group. Materials are parts where that makes no division and they do. Names that say nothing, such as
    "default" and "Mesh_1", do not count.
    """
    names = _Names()
    part_of = [
        np.array([0 if _SAYS_NOTHING.fullmatch(name) else names.index(name) for name in group])
        for group in (objects, groups, materials)
    ]
    by_object, by_group, by_material = (part_of[column][table[:, column]] for column in range(3))
    pairs = np.unique(np.stack([by_object, by_group], axis=1)[by_group > 0], axis=0)
    divided = np.bincount(pairs[:, 0], minlength=len(names.names)) > 1
    divided[0] = True
    part = np.where(divided[by_object] & (by_group > 0), by_group, by_object)
    if not part.any() or ((part == part[0]).all() and (by_material != by_material[0]).any()):
        part = by_material
    return part.astype(np.int64), names.names


@dataclass(frozen=True)
class _Shape:
    """What the triangles of one part look up."""

    name: str
    faces: _Faces
    vertices: Floats
    vertex_colors: Floats | None
    uv: Floats

    def colored(self, corners: Ints, material: str, libraries: MaterialLibraries) -> list[MeshPart]:
        """The part's triangles i64[F, 3] (positions in the faces' corners) of one material."""
        found = libraries.material(material)
        vertex = self.faces.vertex[corners]
        if found.image is None:
            return [self._plain(vertex, found)]
        placed = (self.faces.texture[corners] >= 0).all(axis=1)
        parts = []
        if placed.any():
            own = corners[placed].reshape(-1)
            appearance = found.texture(self.uv[self.faces.texture[own]])
            positions = self.vertices[self.faces.vertex[own]]
            parts.append(MeshPart(self.name, positions, np.arange(len(own)).reshape(-1, 3), appearance))
        if not placed.all():
            libraries.lost.append(f"material {material!r}: faces without texture coordinates have its Kd")
            parts.append(self._plain(vertex[~placed], found))
        return parts

    def _plain(self, vertex: Ints, material: Material) -> MeshPart:
        """Colors of vertices, whose writers leave Kd at a default; the Kd where all vertices are alike."""
        colors = self.vertex_colors
        if colors is not None and (material.color is None or np.ptp(colors, axis=0).any()):
            return MeshPart(self.name, self.vertices, vertex, Appearance(vertex_colors=colors))
        return MeshPart(self.name, self.vertices, vertex, material.plain())


def _vertex_colors(rows: NumberRows, text: bytes, lost: list[str]) -> Floats | None:
    """Colors of all vertices f64[V, 3] in 0..255; None where there are none."""
    if b"#MRGB" in text:
        digits = b"".join(_PAINT.findall(text))
        paint = np.frombuffer(bytes.fromhex(digits[: len(digits) // 8 * 8].decode()), dtype=np.uint8)
        if len(paint) == 4 * len(rows.counts):
            return paint.reshape(-1, 4)[:, 1:].astype(np.float64)
        lost.append(f"#MRGB: {len(paint) // 4} colors for {len(rows.counts)} vertices")
    colored = rows.counts >= 6
    if not colored.any():
        return None
    if not colored.all():
        lost.append(f"colors of {colored.sum()} of {len(colored)} vertices: expected all or none")
        return None
    try:
        return to_255(rows.columns(3, 6))
    except UnknownRange as error:
        lost.append(f"colors of vertices: {error}")
        return None


def _texture_coordinates(lines: TextLines) -> Floats:
    """Texture coordinates f64[T, 2]; v is 0 where it is left out."""
    rows = lines.numbers(lines.begin_with(b"vt"), 2)
    if not len(rows.counts):
        return np.empty((0, 2))
    if rows.counts.min() < 1:
        raise RejectedItem("an empty texture coordinate: damaged or truncated?")
    if rows.counts.min() == 1:
        u = rows.values[rows.starts]
        two = rows.counts > 1
        v = np.where(two, rows.values[np.minimum(rows.starts + 1, len(rows.values) - 1)], 0.0)
        return np.stack([u, v], axis=1)
    return rows.columns(0, 2)


def _cloud(lines: TextLines, vertices: Floats, colors: Floats | None, lost: list[str]) -> Scene:
    """Vertices of a file without faces: a cloud where points name them."""
    if not lines.begin_with(b"p").any() or not len(vertices):
        raise RejectedItem("mesh without faces")
    rounded = None if colors is None else np.round(colors).astype(np.uint8)
    return Scene((CloudPart("", vertices, rounded),), tuple(lost))
