"""glTF scenes in the making, and what is read of them: shared by the tests of its reader."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import DracoPy
import numpy as np
import pytest

from align3d.errors import RejectedItem
from align3d.sources.meshes.scene import Scene
from align3d.sources.meshes.scene_readers import read_scene
from align3d.sources.surface import ColoredPoints, sample_scene
from tests.align3d.sources.meshes.glb_writer import (
    Glb,
)

GREEN = np.full((8, 8, 3), (0, 160, 0), np.uint8)
ATLAS = np.full((64, 64, 3), (200, 0, 0), np.uint8)
ATLAS[:32, 32:] = (0, 160, 0)
QUARTER_UV = np.array([[0.6, 0.1], [0.9, 0.1], [0.9, 0.4], [0.6, 0.4]], "f4")  # within the green quarter
NOISE = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
EMPTY = np.zeros((4, 2), "f4")


def scene_of(glb: Glb | bytes, tmp_path: Path, name: str = "a.glb") -> Scene:
    (tmp_path / name).write_bytes(glb if isinstance(glb, bytes) else glb.content())
    return read_scene(tmp_path / name, tmp_path)


def sampled(glb: Glb | bytes, tmp_path: Path) -> ColoredPoints:
    return sample_scene(scene_of(glb, tmp_path), 200, np.random.default_rng(0))


def color(glb: Glb, tmp_path: Path) -> tuple[int, ...]:
    """The one color of a scene."""
    (only,) = {tuple(color.tolist()) for color in sampled(glb, tmp_path).colors}
    return only


def rejection(glb: Glb | bytes, tmp_path: Path, name: str = "a.glb") -> str:
    with pytest.raises(RejectedItem) as error:
        sample_scene(scene_of(glb, tmp_path, name), 10, np.random.default_rng(0))
    return error.value.reason


def size(glb: Glb, tmp_path: Path) -> list[float]:
    corners = sampled(glb, tmp_path).corners
    return np.round(corners[1] - corners[0], 4).tolist()


def textured(image: Any, info: dict[str, Any] | None = None, **material: Any) -> Glb:
    glb = Glb()
    texture = glb.texture(image)
    glb.plate({"pbrMetallicRoughness": {"baseColorTexture": {"index": texture, **(info or {})}}, **material})
    return glb


def draco(glb: Glb, name: str, vertices: Any, faces: Any, **more: Any) -> dict[str, Any]:
    """A primitive of Draco; returns it."""
    body = DracoPy.encode(vertices, faces, quantization_bits=14, preserve_order=True, **more)
    kinds = {0: ("POSITION", "VEC3"), 2: ("COLOR_0", "VEC4"), 3: ("TEXCOORD_0", "VEC2")}
    unique, attributes = {}, {}
    for attribute in DracoPy.decode(body).attributes:
        key, kind = kinds[attribute["attribute_type"]]
        unique[key] = attribute["unique_id"]
        is_color = key == "COLOR_0"
        entry = {"componentType": 5121 if is_color else 5126, "normalized": is_color, "type": kind}
        attributes[key] = glb.add("accessors", {"count": len(vertices), **entry})
    count = {"componentType": 5123, "count": faces.size, "type": "SCALAR"}
    primitive = {
        "attributes": attributes,
        "indices": glb.add("accessors", count),
        "extensions": {
            "KHR_draco_mesh_compression": {"bufferView": glb.view(body), "attributes": unique},
        },
    }
    glb.node(glb.add("meshes", {"name": name, "primitives": [primitive]}))
    return primitive


PACKED_CORNERS = bytes.fromhex(
    "a00000000100c00000ff000000010ccc0000ffffff000000013fff0000ffffffffffffff00000000000000000000000000000000"
    "00000000000000bf000000bf000000bf"
)
"""The corners of a cube around the origin, and its triangles, as the library meshoptimizer packs them."""
PACKED_TRIANGLES = bytes.fromhex("e1fe2e20017f6f01429e1221120f060603007687566778a9866589689801690000")


def packed_box(glb: Glb, corners: bytes, triangles: bytes, **more: Any) -> None:
    """A box whose two buffer views are compressed."""
    glb.node(glb.box())
    glb.tree["buffers"] = [{"byteLength": 0}, {"byteLength": 4096}]
    for number, (data, count, stride, mode) in enumerate(
        ((corners, 8, 12, "ATTRIBUTES"), (triangles, 36, 2, "TRIANGLES"))
    ):
        place = glb.tree["bufferViews"][glb.view(data)]
        packed = {**place, "count": count, "byteStride": stride, "mode": mode, **more}
        extension = {"EXT_meshopt_compression": packed}
        glb.tree["bufferViews"][number] = {"buffer": 1, "byteLength": count * stride, "extensions": extension}
    glb.tree["buffers"][0]["byteLength"] = len(glb.binary)


def text_of(glb: Glb) -> dict[str, Any]:
    """The JSON of a .gltf whose buffer is in the file."""
    data = base64.b64encode(glb.binary).decode()
    uri = f"data:application/octet-stream;base64,{data}"
    tree = {key: value for key, value in glb.tree.items() if value != []}
    return {**tree, "buffers": [{"byteLength": len(glb.binary), "uri": uri}]}
