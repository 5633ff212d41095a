"""Reader of glTF 2.0 (.gltf, .glb): the default scene, placed, posed and colored as its file says.

Own code reads the JSON's accessors, nodes and materials, since no reader on PyPI kept all colors and sizes
(docs/datasets.md compares them); DracoPy, numpy and Pillow decode what these hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from align3d.errors import RejectedItem
from align3d.sources.meshes.gltf_file import MESHOPT, GltfFile
from align3d.sources.meshes.gltf_geometry import DRACO, Primitive, read_primitive
from align3d.sources.meshes.gltf_materials import Materials
from align3d.sources.meshes.gltf_nodes import INSTANCING, NodeTree
from align3d.sources.meshes.scene import Appearance, CloudPart, Floats, MeshPart, Scene, given_name

MOST_FACES = 1 << 25
"""Triangles and vertices that a file may have after all its copies are placed."""
_GEOMETRY = (DRACO, INSTANCING, "KHR_mesh_quantization", *MESHOPT)
_HARMLESS = (
    *("KHR_materials_", "EXT_materials_", "KHR_texture_", "EXT_texture_", "MSFT_texture_", "VRM"),
    *("KHR_lights_", "EXT_lights_", "KHR_animation_", "KHR_techniques_webgl", "CESIUM_primitive_outline"),
    *("KHR_xmp", "KHR_audio", "KHR_interactivity", "KHR_node_", "EXT_mesh_features"),
    *("EXT_instance_features", "EXT_structural_metadata"),
)
"""Beginnings of the names of extensions that change how a shape is colored or lit, and not where it is."""


def read_gltf(path: Path, root: Path) -> Scene:
    """Read the default scene of a file, in meters.

    Args:
        path: A .gltf or .glb file.
        root: Folder that its buffers and images must lie below.

    Raises:
        RejectedItem: It is damaged, of another version, requires an extension that is not read, or has lines
            alone.
    """
    file = GltfFile(path, root)
    for name in file.tree.get("extensionsRequired", []):
        if name not in _GEOMETRY and not str(name).startswith(_HARMLESS):
            raise RejectedItem(f"requires the glTF extension {name}, which is not read")
    nodes = NodeTree(file)
    materials = Materials(file)
    meshes = MeshCache(file, materials)
    parts: list[MeshPart | CloudPart] = []
    size, lines = 0, 0
    for index in nodes.shown():
        node = file.entry("nodes", index)
        if "mesh" not in node:
            continue
        for name, primitive, appearance in meshes.read(node):
            if primitive is None:
                lines += 1
                continue
            places = nodes.placements(index)
            size += max(len(primitive.faces), len(primitive.vertices)) * len(places)
            if size > MOST_FACES:
                raise RejectedItem(f"more than {MOST_FACES} triangles or vertices when all copies are placed")
            posed = _posed(file, nodes, node, primitive) if "skin" in node else None
            for place in places:
                vertices = _placed(primitive, place) if posed is None else posed
                parts.append(_part(given_name(name, path.name), vertices, primitive, appearance))
    if lines and not parts:
        raise RejectedItem("lines alone: mesh without faces")
    return Scene(tuple(parts), tuple(materials.lost), unit_m=1.0)


class MeshCache:
    """Meshes of a file, each read once, however many nodes show it."""

    def __init__(self, file: GltfFile, materials: Materials) -> None:
        self._file, self._materials = file, materials
        self._read: dict[tuple[Any, ...], list[tuple[Primitive | None, Appearance]]] = {}

    def read(self, node: dict[str, Any]) -> Iterator[tuple[str, Primitive | None, Appearance]]:
        """Name, geometry (None for lines) and appearance of each primitive of a node's mesh.

        A part is named as its mesh; where that has no name, as the node; else as the material.
        """
        mesh = self._file.entry("meshes", node["mesh"])
        weights = node.get("weights", mesh.get("weights", []))
        key = (node["mesh"], *weights)
        if key not in self._read:
            self._read[key] = [self._primitive(entry, weights) for entry in mesh["primitives"]]
        for entry, (primitive, appearance) in zip(mesh["primitives"], self._read[key], strict=True):
            material = self._file.entry("materials", entry["material"]) if "material" in entry else {}
            name = str(mesh.get("name") or node.get("name") or material.get("name") or "")
            yield name.encode("utf-8", "replace").decode(), primitive, appearance

    def _primitive(self, entry: dict[str, Any], weights: list[float]) -> tuple[Primitive | None, Appearance]:
        primitive = read_primitive(self._file, entry, weights)
        if primitive is None:
            return None, Appearance()
        return primitive, self._materials.appearance(entry, primitive.attribute, len(primitive.vertices))


def _placed(primitive: Primitive, matrix: Floats) -> Floats:
    """Vertices in the scene's axes, f64[V, 3]."""
    return primitive.vertices @ matrix[:3, :3].T + matrix[:3, 3]


def _posed(file: GltfFile, nodes: NodeTree, node: dict[str, Any], primitive: Primitive) -> Floats | None:
    """Vertices posed by their joints, which alone say where a mesh with a skin is (section 3.7.3.3).

    Returns:
        f64[V, 3]; None where the vertices have no joints.
    """
    skin = file.entry("skins", node["skin"])
    joints = np.stack([nodes.matrix(joint) for joint in skin["joints"]])  # [J, 4, 4]
    if "inverseBindMatrices" in skin:
        inverse = file.accessor(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
        if len(inverse) < len(joints):
            raise RejectedItem(f"cannot be read: {len(inverse)} inverse matrices for {len(joints)} joints")
        joints = joints @ inverse[: len(joints)]
    sets = [name.removeprefix("JOINTS_") for name in primitive.attributes if name.startswith("JOINTS_")]
    if not sets:
        return None
    blend = np.zeros((len(primitive.vertices), 4, 4))
    total = np.zeros(len(primitive.vertices))
    for number in sets:
        which = primitive.attributes[f"JOINTS_{number}"].astype(np.int64)  # [V, 4]
        share = primitive.attributes[f"WEIGHTS_{number}"].astype(np.float64)  # [V, 4]
        if which.shape != share.shape or len(which) != len(blend) or which.max(initial=0) >= len(joints):
            raise RejectedItem("cannot be read: joints of vertices that are not there")
        blend += np.einsum("vk,vkij->vij", share, joints[which])
        total += share.sum(axis=1)
    blend /= np.where(total > 0.0, total, 1.0)[:, None, None]
    return np.einsum("vij,vj->vi", blend[:, :3, :3], primitive.vertices) + blend[:, :3, 3]


def _part(name: str, vertices: Floats, primitive: Primitive, appearance: Appearance) -> MeshPart | CloudPart:
    """A placed primitive as a part of the scene."""
    if not primitive.is_cloud:
        return MeshPart(name, vertices, primitive.faces, appearance)
    each = np.arange(len(vertices))
    alone = np.repeat(each[:, None], 3, axis=1)  # each point as a triangle of itself
    weights = np.tile([1.0, 0.0, 0.0], (len(vertices), 1))
    return CloudPart(name, vertices, appearance.colors(each, alone, weights))
