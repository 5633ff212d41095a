"""Geometry of glTF: a primitive's attributes and triangles, compressed or not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from align3d.errors import RejectedItem
from align3d.sources.meshes.gltf_file import GltfFile, decoded
from align3d.sources.meshes.scene import Floats, Ints

DRACO = "KHR_draco_mesh_compression"
_READ = ("POSITION", "COLOR_0", "TEXCOORD_", "JOINTS_", "WEIGHTS_")
"""Beginnings of the names of the attributes that say where a shape is, and how it is colored."""
POINTS, LINES, TRIANGLES, STRIP, FAN = 0, (1, 2, 3), 4, 5, 6


@dataclass(frozen=True)
class Primitive:
    """One primitive of a mesh, decoded.

    Attributes:
        vertices: f64[V, 3] in the mesh's axes.
        faces: i64[F, 3]; empty for points.
        is_cloud: Whether it is made of points.
        attributes: Attributes of place and color by name, [V, components].
    """

    vertices: Floats
    faces: Ints
    is_cloud: bool
    attributes: dict[str, NDArray[Any]] = field(repr=False)

    def attribute(self, name: str) -> Floats | None:
        """Values of an attribute, f64[V, components]; colors of whole numbers in 0..1, marked so or not."""
        values = self.attributes.get(name)
        if values is None:
            return None
        if name.startswith("COLOR_") and np.issubdtype(values.dtype, np.integer):
            values = decoded(values, normalized=True)
        return values.astype(np.float64)


def read_primitive(file: GltfFile, entry: dict[str, Any], weights: list[float]) -> Primitive | None:
    """A primitive; None for one of lines, which have no surface.

    Args:
        file: The glTF file.
        entry: The primitive's JSON.
        weights: Shares of its morph targets.

    Raises:
        RejectedItem: Something in it is damaged, or its vertices are not in the file.
    """
    mode = entry.get("mode", TRIANGLES)
    if mode in LINES:
        return None
    if mode not in (POINTS, TRIANGLES, STRIP, FAN):
        raise RejectedItem(f"cannot be read: a primitive of mode {mode!r}, expected 0 to 6")
    names = entry.get("attributes", {})
    if "POSITION" not in names:
        return None  # (section 3.7.2.1: not to be shown)
    compressed = entry.get("extensions", {}).get(DRACO)
    unpacked, faces = ({}, None) if compressed is None else _draco(file, compressed, names)
    if "POSITION" not in unpacked and not file.has_values(names["POSITION"]):
        raise RejectedItem("cannot be read: vertices that are neither in the file nor in a known extension")
    attributes = {
        name: unpacked[name] if name in unpacked else file.accessor(index)
        for name, index in names.items()
        if name.startswith(_READ)
    }
    vertices = attributes["POSITION"].astype(np.float64)
    if vertices.shape[1] != 3:
        raise RejectedItem(f"cannot be read: vertices of {vertices.shape[1]} numbers, expected 3")
    vertices = _morphed(file, entry, weights, vertices)
    if mode == POINTS:
        return Primitive(vertices, np.zeros((0, 3), np.int64), True, attributes)
    if faces is None:
        order = file.accessor(entry["indices"])[:, 0] if "indices" in entry else np.arange(len(vertices))
        if not np.issubdtype(order.dtype, np.integer):
            raise RejectedItem(f"cannot be read: indices are {order.dtype}, expected whole numbers")
        faces = _triangles(order.astype(np.int64), mode)
    return Primitive(vertices, faces, False, attributes)


def _triangles(order: Ints, mode: int) -> Ints:
    """Triangles of a list, strip or fan of vertices (section 3.7.2.1), i64[F, 3]."""
    if mode == TRIANGLES:
        return order[: len(order) // 3 * 3].reshape(-1, 3)
    if len(order) < 3:
        return np.zeros((0, 3), np.int64)
    if mode == FAN:
        return np.column_stack([np.full(len(order) - 2, order[0]), order[1:-1], order[2:]])
    faces = np.column_stack([order[:-2], order[1:-1], order[2:]])
    faces[1::2, :2] = faces[1::2, 1::-1]  # every second one turned, so that all face one way
    return faces


def _morphed(file: GltfFile, entry: dict[str, Any], weights: list[float], vertices: Floats) -> Floats:
    """Vertices moved by the morph targets that have a share (section 3.7.2.2)."""
    for target, weight in zip(entry.get("targets", []), weights, strict=False):
        if weight and "POSITION" in target:
            moves = file.accessor(target["POSITION"])
            if moves.shape != vertices.shape:
                raise RejectedItem(
                    f"cannot be read: a morph target moves {len(moves)} of {len(vertices)} vertices"
                )
            vertices = vertices + float(weight) * moves
    return vertices


def _draco(
    file: GltfFile, compressed: dict[str, Any], names: dict[str, int]
) -> tuple[dict[str, NDArray[Any]], Ints | None]:
    """Attributes by name and triangles of a body of Draco (extension ``KHR_draco_mesh_compression``)."""
    import DracoPy

    try:
        body = DracoPy.decode(bytes(file.view(compressed.get("bufferView"))))
    except Exception as error:
        if isinstance(error, RejectedItem):
            raise
        raise RejectedItem(f"cannot be read: its {DRACO} is damaged ({error})") from error
    arrays = {attribute["unique_id"]: attribute["data"] for attribute in body.attributes}
    found = {}
    for name, number in compressed.get("attributes", {}).items():
        if number not in arrays or name not in names:
            raise RejectedItem(f"cannot be read: its {DRACO} lacks the attribute {name}")
        accessor = file.entry("accessors", names[name])
        values = arrays[number].reshape(len(arrays[number]), -1)
        found[name] = decoded(values, bool(accessor.get("normalized")))
    faces = getattr(body, "faces", None)
    return found, None if faces is None else np.asarray(faces, dtype=np.int64).reshape(-1, 3)
