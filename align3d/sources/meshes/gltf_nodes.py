"""Nodes of glTF: which are shown, and where."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from align3d.errors import RejectedItem
from align3d.sources.meshes.gltf_file import GltfFile
from align3d.sources.meshes.scene import Floats

INSTANCING = "EXT_mesh_gpu_instancing"


class NodeTree:
    """Nodes of a file and where they stand.

    Raises:
        RejectedItem: The nodes are no tree.
    """

    def __init__(self, file: GltfFile) -> None:
        self._file = file
        nodes = file.tree.get("nodes", [])
        self._parent: dict[int, int] = {}
        for number in range(len(nodes)):
            for child in file.entry("nodes", number).get("children", []):
                file.entry("nodes", child)
                if child in self._parent:
                    raise RejectedItem(f"cannot be read: nodes[{child}] has two parents")
                self._parent[child] = number
        self._matrices: dict[int, Floats] = {}

    def shown(self) -> Iterator[int]:
        """Nodes of the default scene, else of the first, else all; hidden ones are left out."""
        tree = self._file.tree
        if tree.get("scenes"):
            roots = self._file.entry("scenes", tree.get("scene", 0)).get("nodes", [])
        else:
            roots = [number for number in range(len(tree.get("nodes", []))) if number not in self._parent]
        waiting, seen = list(reversed(roots)), set[int]()
        while waiting:
            number = waiting.pop()
            node = self._file.entry("nodes", number)
            if number in seen:
                raise RejectedItem(f"cannot be read: nodes[{number}] stands twice in the scene")
            seen.add(number)
            if node.get("extensions", {}).get("KHR_node_visibility", {}).get("visible", True):
                yield number
                waiting += reversed(node.get("children", []))

    def matrix(self, index: int) -> Floats:
        """A node's place in the scene, f64[4, 4]."""
        chain: list[int] = []
        at: int | None = index
        while at is not None and at not in self._matrices:
            if len(chain) > len(self._parent):
                raise RejectedItem(f"cannot be read: nodes[{index}] is its own ancestor")
            chain.append(at)
            at = self._parent.get(at)
        above = np.eye(4) if at is None else self._matrices[at]
        for number in reversed(chain):
            above = above @ _local(self._file.entry("nodes", number))
            self._matrices[number] = above
        return above

    def placements(self, index: int) -> list[Floats]:
        """The places f64[4, 4] where a node's mesh is shown: one, or those of its instances."""
        place = self.matrix(index)
        node = self._file.entry("nodes", index)
        instances = node.get("extensions", {}).get(INSTANCING)
        if instances is None:
            return [place]
        columns = {
            key: self._file.accessor(number) for key, number in instances.get("attributes", {}).items()
        }
        counts = {len(values) for values in columns.values()}
        if len(counts) != 1:
            raise RejectedItem(f"cannot be read: {INSTANCING} has {sorted(counts)} instances")
        keys = (("TRANSLATION", "translation"), ("ROTATION", "rotation"), ("SCALE", "scale"))
        return [
            place @ _local({name: columns[key][row] for key, name in keys if key in columns})
            for row in range(counts.pop())
        ]


def _local(node: dict[str, Any]) -> Floats:
    """A node's transform to its parent's axes (section 3.5.3), f64[4, 4]."""
    if "matrix" in node:
        return np.asarray(node["matrix"], dtype=np.float64).reshape(4, 4).T
    matrix = np.eye(4)
    x, y, z, w = _unit(np.asarray(node.get("rotation", (0.0, 0.0, 0.0, 1.0)), dtype=np.float64))
    matrix[:3, :3] = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    ) * np.asarray(node.get("scale", (1.0, 1.0, 1.0)), dtype=np.float64)
    matrix[:3, 3] = np.asarray(node.get("translation", (0.0, 0.0, 0.0)), dtype=np.float64)
    return matrix


def _unit(quaternion: Floats) -> Floats:
    """A quaternion of length one; no turn for one of length zero."""
    length = float(np.linalg.norm(quaternion))
    return quaternion / length if length > 0.0 else np.array([0.0, 0.0, 0.0, 1.0])
