"""GLB files from arrays, written by hand so that a test says each byte."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

COMPONENTS = {"u1": 5121, "i1": 5120, "u2": 5123, "i2": 5122, "u4": 5125, "f4": 5126}
BOX_VERTICES = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], "f4")
BOX_FACES = np.array(
    [
        0,
        1,
        3,
        0,
        3,
        2,
        4,
        6,
        7,
        4,
        7,
        5,
        0,
        4,
        5,
        0,
        5,
        1,
        2,
        3,
        7,
        2,
        7,
        6,
        0,
        2,
        6,
        0,
        6,
        4,
        1,
        5,
        7,
        1,
        7,
        3,
    ],
    "u2",
)
PLATE_VERTICES = np.array([[0, 0, 0], [2, 0, 0], [2, 1, 0], [0, 1, 0]], "f4")
PLATE_UV = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], "f4")
PLATE_FACES = np.array([0, 1, 2, 0, 2, 3], "u2")


class Glb:
    """A GLB in the making: ``tree`` is its JSON, the rest appends to it and returns the new index."""

    def __init__(self, *required: str) -> None:
        self.tree: dict[str, Any] = {
            "asset": {"version": "2.0"},
            "scene": 0,
            "scenes": [{"nodes": []}],
            **{key: [] for key in ("nodes", "meshes", "accessors", "bufferViews", "materials")},
            **{key: [] for key in ("images", "textures", "samplers", "skins")},
        }
        if required:
            self.tree["extensionsUsed"] = self.tree["extensionsRequired"] = list(required)
        self.binary = b""

    def view(self, data: bytes, **more: Any) -> int:
        self.binary += b"\0" * (-len(self.binary) % 4)
        place = {"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(data), **more}
        self.binary += data
        return self.add("bufferViews", place)

    def add(self, kind: str, entry: dict[str, Any]) -> int:
        self.tree[kind].append(entry)
        return len(self.tree[kind]) - 1

    def accessor(self, values: NDArray[Any], **more: Any) -> int:
        width = 1 if values.ndim == 1 else values.shape[1]
        entry = {
            "bufferView": self.view(np.ascontiguousarray(values).tobytes()),
            "componentType": COMPONENTS[values.dtype.str[1:]],
            "count": len(values),
            "type": {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}[width],
            **more,
        }
        return self.add("accessors", entry)

    def texture(self, image: ArrayLike | bytes, **more: Any) -> int:
        data = image if isinstance(image, bytes) else png(image)
        source = self.add("images", {"bufferView": self.view(data), "mimeType": "image/png"})
        return self.add("textures", {"source": source, **more})

    def node(self, mesh: int, **more: Any) -> int:
        number = self.add("nodes", {"mesh": mesh, **more})
        self.tree["scenes"][0]["nodes"].append(number)
        return number

    def box(self, **primitive: Any) -> int:
        """A mesh: the unit cube, called "box"."""
        return self.mesh("box", BOX_VERTICES, BOX_FACES, {}, **primitive)

    def plate(self, material: dict[str, Any] | None, **attributes: int) -> None:
        """A mesh and its node: 2 x 1 m in x and y, the upper left of a texture at x = 0, y = 1."""
        attributes.setdefault("TEXCOORD_0", self.accessor(PLATE_UV))
        more = {} if material is None else {"material": self.add("materials", material)}
        self.node(self.mesh("plate", PLATE_VERTICES, PLATE_FACES, attributes, **more))

    def mesh(
        self, name: str, vertices: NDArray[Any], faces: NDArray[Any], attributes: dict[str, int], **more: Any
    ) -> int:
        position = self.accessor(vertices)
        primitive = {
            "attributes": {"POSITION": position, **attributes},
            "indices": self.accessor(faces),
            **more,
        }
        return self.add("meshes", {"name": name, "primitives": [primitive]})

    def save(self, path: Path) -> None:
        path.write_bytes(self.content())

    def content(self) -> bytes:
        binary = self.binary + b"\0" * (-len(self.binary) % 4)
        tree = {"buffers": [{"byteLength": len(binary)}], **{k: v for k, v in self.tree.items() if v != []}}
        text = json.dumps(tree).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
        chunks += struct.pack("<II", len(binary), 0x004E4942) + binary
        return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def png(pixels: ArrayLike | Image.Image, format: str = "PNG") -> bytes:
    """An image file's bytes."""
    file = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(np.asarray(pixels))
    image.save(file, format)
    return file.getvalue()
