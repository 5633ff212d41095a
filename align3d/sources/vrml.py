"""Reader of VRML 2.0 scenes as colored triangles in meters: small, strict and fast, for CAD exports.

Reads shapes under groups and transforms, with materials by name, colors of vertices and faces, and indexed
face sets of polygons of any size and shape, whether or not a file says ``convex FALSE``. Lines, single
points, lights and views have no surface and are passed over; any other node is refused by its name, so that
no part of a model is lost unseen.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from align3d.errors import RejectedItem
from align3d.sources.meshes.polygons import triangulate
from align3d.sources.meshes.text_encoding import decode_names, text_bytes
from align3d.sources.vrml_nodes import Node, parse_vrml

MOST_VISITS = 200_000
"""Nodes of a scene, those that are used again counted again."""
MOST_COPIED = 1 << 26
"""Characters of coordinates that a scene may have, those used again counted again, if its file has fewer."""
#: KiCad's VRML files count in tenths of an inch.
TENTH_INCH_M = 0.00254
#: VRML's default diffuse color (ISO/IEC 14772-1, section 6.27).
_DEFAULT_DIFFUSE = (0.8, 0.8, 0.8)
_GROUPS = frozenset({"Group", "Anchor", "Collision", "Billboard"})
_WITHOUT_SURFACE = frozenset(
    {"IndexedLineSet", "PointSet", "NavigationInfo", "WorldInfo", "Viewpoint", "Background", "Fog"}
    | {"DirectionalLight", "PointLight", "SpotLight"}
)
_SENTINEL = -1e300  # marks the border between two shapes' numbers; no coordinate is as large

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Mesh:
    """Triangles with a material each.

    Attributes:
        vertices: f64[V, 3] in meters.
        faces: i64[F, 3], indices of vertices.
        material: i64[F], index into the names and colors.
        material_names: M names; those without a name go by color: ``material-0``, ...
        material_colors: u8[M, 3], diffuse colors.
        corner_colors: f64[F, 3, 3] in 0..255, color of each corner of each triangle; None where no Color node
            gives any, so that all is of its material's color.
        lost: Why colors were dropped, a line each.
        notes: What else was guessed, a line each.
    """

    vertices: Floats
    faces: Ints
    material: Ints
    material_names: tuple[str, ...]
    material_colors: NDArray[np.uint8]
    corner_colors: Floats | None = None
    lost: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def colors(self, face: Ints, weights: Floats) -> NDArray[np.uint8]:
        """Colors u8[P, 3] of points on triangles i64[P], with barycentric weights f64[P, 3]."""
        if self.corner_colors is None:
            return self.material_colors[self.material[face]]
        blended = np.einsum("pk,pkc->pc", weights, self.corner_colors[face])
        return np.round(blended).astype(np.uint8)


def read_vrml(path: Path, unit_m: float = TENTH_INCH_M) -> Mesh:
    """Read a VRML 2.0 file.

    Args:
        path: Path of the file.
        unit_m: The file's unit in meters.

    Raises:
        RejectedItem: The file cannot be read, is truncated, breaks the grammar, or has no faces.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RejectedItem(f"cannot be read: {error.strerror}") from error
    (text,) = decode_names([text_bytes(data)])
    return mesh_from_vrml(text, unit_m)


def mesh_from_vrml(text: str, unit_m: float = TENTH_INCH_M) -> Mesh:
    """Read the text of a VRML 2.0 file; see ``read_vrml``."""
    scene = _Scene(max(len(text), MOST_COPIED))
    try:
        for node in parse_vrml(text):
            scene.visit(node, None)
    except RecursionError as error:
        raise RejectedItem("nodes nested too deeply, those that are used again among them") from error
    return scene.mesh(unit_m)


@dataclass(frozen=True)
class _Colors:
    """Color node of a shape.

    Attributes:
        color: Text of its colors.
        index: Text of the face set's colorIndex, empty where it has none.
        per_vertex: Whether corners have colors, rather than faces.
    """

    color: str
    index: str
    per_vertex: bool


class _Scene:
    """Gathers the shapes of a scene; their numbers are converted all at once at the end."""

    def __init__(self, room: int) -> None:
        self.room = room  # characters of coordinates and indices that may still come
        self.visits = MOST_VISITS
        self.points: list[str] = []  # per shape: text of its coordinates
        self.indices: list[str] = []  # per shape: text of its coordIndex
        self.materials: list[int] = []  # per shape: index into names
        self.placed: list[tuple[int, Floats]] = []  # (shape, 4x4 matrix) where it is not the identity
        self.names: dict[str, int] = {}
        self.colors: list[tuple[float, ...]] = []
        self.anonymous: dict[tuple[float, ...], str] = {}  # color -> name
        self.colored: dict[int, _Colors] = {}  # by shape
        self.lost: list[str] = []
        self.notes: list[str] = []

    def visit(self, node: Node, matrix: Floats | None) -> None:
        """Walk a node's shapes, with the transform from its axes to the scene's."""
        self.visits -= 1
        if self.visits < 0:
            raise RejectedItem(f"more than {MOST_VISITS:,} nodes when all that are used again are counted")
        if node.type == "Shape":
            self.add_shape(node, matrix)
        elif node.type == "Transform":
            own = _transform(node)
            inner = own if matrix is None else matrix @ own
            for child in node.nodes("children"):
                self.visit(child, inner)
        elif node.type in _GROUPS:
            for child in node.nodes("children"):
                self.visit(child, matrix)
        elif node.type == "Switch":
            choices = node.nodes("choice")
            (which,) = node.numbers("whichChoice", (-1.0,))
            if 0 <= which < len(choices):  # also where it is NaN or infinite
                self.visit(choices[int(which)], matrix)
        elif node.type == "LOD":
            for child in node.nodes("level")[:1]:  # the finest
                self.visit(child, matrix)
        elif node.type not in _WITHOUT_SURFACE:
            raise RejectedItem(f"node {node.type} is not read")

    def add_shape(self, shape: Node, matrix: Floats | None) -> None:
        geometry = shape.node("geometry")
        material = self.material(shape)
        if geometry is None or geometry.type in _WITHOUT_SURFACE:
            return
        if geometry.type != "IndexedFaceSet":
            raise RejectedItem(f"geometry {geometry.type} is not read, expected IndexedFaceSet")
        coordinates = geometry.node("coord")
        if coordinates is None:
            return
        if matrix is not None:
            self.placed.append((len(self.points), matrix))
        colors = geometry.node("color")
        if colors is not None:
            per_vertex = geometry.fields.get("colorPerVertex") != ["FALSE"]
            index = geometry.array("colorIndex")
            self.colored[len(self.points)] = _Colors(colors.array("color"), index, per_vertex)
        appearance = shape.node("appearance")
        if appearance is not None and appearance.node("texture") is not None:
            self.lost.append("textures of VRML are not read, the material's color stands for them")
        self.points.append(coordinates.array("point"))
        self.indices.append(geometry.array("coordIndex"))
        self.room -= len(self.points[-1]) + len(self.indices[-1])
        if self.room < 0:
            raise RejectedItem("a scene that grows too large when all that is used again is placed")
        self.materials.append(material)

    def material(self, shape: Node) -> int:
        """The index of a shape's material, which is noted at its first use."""
        appearance = shape.node("appearance")
        node = appearance.node("material") if appearance is not None else None
        color: tuple[float, ...]
        if node is None:
            name, color = "material-none", _DEFAULT_DIFFUSE
        else:
            color = node.numbers("diffuseColor", _DEFAULT_DIFFUSE)
            name = node.name or self.name_by_color(color)
        # One name may be defined twice with two colors; each color is then a material of its own.
        key = name
        while key in self.names and self.colors[self.names[key]] != color:
            key += "'"
        if key not in self.names:
            self.names[key] = len(self.colors)
            self.colors.append(color)
        return self.names[key]

    def name_by_color(self, color: tuple[float, ...]) -> str:
        """A name for a material that is written out without one.

        Some exporters define the named materials first and then repeat their values; equal colors are taken
        for the same material.
        """
        if color in self.colors:
            return next(name for name, index in self.names.items() if self.colors[index] == color)
        return self.anonymous.setdefault(color, f"material-{len(self.anonymous)}")

    def mesh(self, unit_m: float) -> Mesh:
        if not self.points:
            raise RejectedItem("mesh without faces")
        vertices, vertex_start = self.vertices()
        faces, shape_of_face, corner_colors = self.faces(vertices, vertex_start)
        for shape, matrix in self.placed:
            part = slice(vertex_start[shape], vertex_start[shape + 1])
            vertices[part] = vertices[part] @ matrix[:3, :3].T + matrix[:3, 3]
        colors = np.clip(np.array(self.colors, dtype=np.float64).reshape(-1, 3), 0.0, 1.0)
        material = np.array(self.materials, dtype=np.int64)[shape_of_face]
        material_colors = np.round(colors * 255.0).astype(np.uint8)
        if corner_colors is not None:
            own = np.repeat(material_colors[material][:, None].astype(np.float64), 3, axis=1)
            corner_colors = np.where(np.isnan(corner_colors), own, corner_colors)
        return Mesh(
            vertices=vertices * unit_m,
            faces=faces,
            material=material,
            material_names=tuple(self.names),
            material_colors=material_colors,
            corner_colors=corner_colors,
            lost=tuple(dict.fromkeys(self.lost)),
            notes=tuple(self.notes),
        )

    def vertices(self) -> tuple[Floats, Ints]:
        """All shapes' vertices f64[V, 3], and where each shape's begin i64[shapes + 1]."""
        numbers = _numbers(f" {_SENTINEL!r} ".join(self.points), "point")
        borders = np.flatnonzero(numbers == _SENTINEL)
        starts = np.concatenate([[0], borders - np.arange(len(borders)), [len(numbers) - len(borders)]])
        if len(starts) != len(self.points) + 1 or (starts % 3).any():
            raise RejectedItem("a point list whose length is no multiple of 3: truncated or odd file")
        vertices = np.delete(numbers, borders).reshape(-1, 3)
        if not np.isfinite(vertices).all():
            raise RejectedItem("NaN or infinite vertices")
        return vertices, (starts // 3).astype(np.int64)

    def faces(self, vertices: Floats, vertex_start: Ints) -> tuple[Ints, Ints, Floats | None]:
        """All triangles, the shape of each, and the colors of their corners.

        Returns:
            Triangles i64[F, 3] in the numbering of all vertices; shapes i64[F]; colors f64[F, 3, 3] in
            0..255, NaN where a shape has none, or None where no shape has any.
        """
        # A list need not close its last polygon: " -1 -2 " ends it and marks the border. An empty polygon
        # between two ends has no triangles.
        numbers = _numbers(" -1 -2 ".join(self.indices) + " -1", "coordIndex")
        index = numbers.astype(np.int64)
        if (index != numbers).any() or (index < -2).any():
            raise RejectedItem("a coordIndex that is not a whole number from -1 up")
        border = index == -2
        if border.sum() != len(self.indices) - 1:
            raise RejectedItem("a coordIndex of -2")
        shape = np.cumsum(border)[~border]
        index = index[~border]
        corner = index >= 0
        if (index[corner] >= np.diff(vertex_start)[shape[corner]]).any():
            raise RejectedItem("a coordIndex beyond its point list: truncated or odd file")
        entry = np.flatnonzero(corner)
        vertex = index[entry] + vertex_start[shape[entry]]
        ends = np.flatnonzero(~corner)
        cut = triangulate(vertices[vertex], np.diff(ends, prepend=-1) - 1)
        if not len(cut.polygon):
            raise RejectedItem("mesh without faces")
        self.notes += cut.doubts
        shape_of_face = shape[ends[cut.polygon]]
        colors = None
        if self.colored:
            colors = np.full((len(shape_of_face), 3, 3), np.nan)
            first_entry = np.searchsorted(shape, np.arange(len(self.points)))
            first_polygon = np.searchsorted(shape[ends], np.arange(len(self.points)))
            for number, node in self.colored.items():
                here = np.flatnonzero(shape_of_face == number)
                at = entry[cut.corners[here]]
                polygon = np.repeat(cut.polygon[here][:, None] - first_polygon[number], 3, axis=1)
                self.color(colors, here, node, index[at], at - first_entry[number], polygon)
        return vertex[cut.corners], shape_of_face, colors

    def color(
        self, colors: Floats, here: Ints, node: _Colors, vertex: Ints, entry: Ints, polygon: Ints
    ) -> None:
        """Look up the colors of a shape's triangles (ISO/IEC 14772-1, section 6.23).

        Args:
            colors: f64[F, 3, 3], where those of the triangles ``here`` are written.
            here: i64[T].
            node: The shape's colors.
            vertex: i64[T, 3], the corners' vertices in the shape's coordinates.
            entry: i64[T, 3], the corners' places in the shape's coordIndex.
            polygon: i64[T, 3], the polygons' numbers in the shape.
        """
        palette = _numbers(node.color, "color")
        chosen = (vertex if not node.index else entry) if node.per_vertex else polygon
        if node.index:
            index = _numbers(node.index, "colorIndex").astype(np.int64)
            chosen = np.where(chosen < len(index), index[np.minimum(chosen, len(index) - 1)], -1)
        if len(palette) % 3 or (chosen < 0).any() or (chosen >= len(palette) // 3).any():
            self.lost.append("a Color node without a color for each face or vertex is not read")
        else:
            colors[here] = np.clip(palette.reshape(-1, 3), 0.0, 1.0)[chosen] * 255.0


def _numbers(text: str, field: str) -> Floats:
    """The numbers of a text with commas or blanks between them."""
    words = text.replace(",", " ")
    try:
        with warnings.catch_warnings():  # numpy before 2.4 warns where later ones raise
            warnings.simplefilter("error", DeprecationWarning)
            return np.fromstring(words, dtype=np.float64, sep=" ")
    except (ValueError, DeprecationWarning) as error:
        raise RejectedItem(f"something in a {field} list that is not a number") from error


def _transform(node: Node) -> Floats:
    """The 4x4 matrix of a Transform: T C R SR S -SR -C (ISO/IEC 14772-1, section 6.52)."""
    center = _translation(node.numbers("center", (0.0, 0.0, 0.0)))
    skew = _rotation(node.numbers("scaleOrientation", (0.0, 0.0, 1.0, 0.0)))
    return (
        _translation(node.numbers("translation", (0.0, 0.0, 0.0)))
        @ center
        @ _rotation(node.numbers("rotation", (0.0, 0.0, 1.0, 0.0)))
        @ skew
        @ np.diag([*node.numbers("scale", (1.0, 1.0, 1.0)), 1.0])
        @ skew.T
        @ np.linalg.inv(center)
    )


def _translation(offset: tuple[float, ...]) -> Floats:
    matrix = np.eye(4)
    matrix[:3, 3] = offset
    return matrix


def _rotation(axis_angle: tuple[float, ...]) -> Floats:
    """Rodrigues' formula, from a VRML rotation (axis x y z, angle in radians)."""
    axis, angle = np.array(axis_angle[:3]), axis_angle[3]
    length = np.linalg.norm(axis)
    if length == 0.0:
        return np.eye(4)
    x, y, z = axis / length
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    matrix = np.eye(4)
    matrix[:3, :3] += np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross
    return matrix
