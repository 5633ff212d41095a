"""Files of glTF that are damaged, cut or malicious: a reason for each that is refused, and no memory."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from align3d.errors import RejectedItem
from tests.align3d.sources.meshes.glb_writer import (
    BOX_FACES,
    BOX_VERTICES,
    PLATE_UV,
    Glb,
)
from tests.align3d.sources.meshes.gltf_scenes import (
    NOISE,
    draco,
    rejection,
    sampled,
    scene_of,
    text_of,
)


def test_json_with_marks_and_padding(tmp_path: Path) -> None:
    glb = Glb()
    glb.node(glb.box())
    text = json.dumps(text_of(glb))
    for data in (
        text.encode(),
        b"\xef\xbb\xbf" + text.encode(),
        text.encode("utf-16"),
        text.encode() + b"\n\0\0",
        glb.content(),  # a GLB under the other name
    ):
        assert len(scene_of(data, tmp_path, "a.gltf").parts) == 1
    assert len(scene_of(text.encode(), tmp_path, "a.glb").parts) == 1
    padded = glb.content()
    end = 20 + struct.unpack_from("<I", padded, 12)[0]
    padded = padded[:20] + padded[20:end].rstrip().ljust(end - 20, b"\0") + padded[end:]
    assert len(scene_of(padded, tmp_path).parts) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda tree: tree["accessors"][0].update(count=10**12), "claims 1000000000000 elements of 12 bytes"),
        (lambda tree: tree["accessors"][0].update(byteOffset=10**12), "claims 8 elements of 12 bytes"),
        (lambda tree: tree["accessors"][0].update(count=-1), "count=-1, expected a whole number from 0"),
        (lambda tree: tree["accessors"][0].update(count=8.5), "count=8.5, expected a whole number from 0"),
        (lambda tree: tree["accessors"][0].update(componentType=1), "of the unknown type VEC3 of 1"),
        (
            lambda tree: tree["accessors"][0].update(bufferView=-1),
            "names bufferViews[-1], of which there are 2",
        ),
        (lambda tree: tree["bufferViews"][0].update(byteLength=10**12), "reaches to byte 1000000000000 of"),
        (lambda tree: tree["bufferViews"][0].update(byteStride=4), "a stride of 4 for elements of 12 bytes"),
        (lambda tree: tree["buffers"][0].update(byteLength=10**12), "bytes instead of 1000000000000"),
        (lambda tree: tree["buffers"][0].update(uri="gone.bin"), "buffer 0: no file 'gone.bin'"),
        (lambda tree: tree["buffers"][0].update(uri="../secret.bin"), "'../secret.bin' leaves the root"),
        (lambda tree: tree["buffers"][0].update(uri="/etc/passwd"), "'/etc/passwd' leaves the root"),
        (lambda tree: tree["buffers"][0].update(uri="%2e%2e/secret.bin"), "leaves the root"),
        (lambda tree: tree["buffers"][0].update(uri="file:///etc/passwd"), "is a web address"),
        (lambda tree: tree["buffers"][0].update(uri="data:;base64,AAA"), "data URI is not base64"),
        (
            lambda tree: tree["meshes"][0]["primitives"][0].update(mode=9),
            "a primitive of mode 9, expected 0 to 6",
        ),
        (lambda tree: tree["meshes"][0].update(primitives=7), "TypeError"),
        (lambda tree: tree["nodes"][0].update(children=[0]), "nodes[0] is its own ancestor"),
        (lambda tree: tree["nodes"].extend([{"children": [0]}] * 2), "nodes[0] has two parents"),
        (lambda tree: tree["scenes"][0].update(nodes=[0, 0]), "nodes[0] stands twice in the scene"),
        (lambda tree: tree["scenes"][0].update(nodes=[5]), "it names nodes[5], of which there are 1"),
        (lambda tree: tree["nodes"][0].update(scale=[float("nan")] * 3), "NaN or infinite vertices"),
        (lambda tree: tree["nodes"][0].update(matrix=[1, 2]), "cannot be read"),
        (lambda tree: tree.update(nodes={}), "nodes is a dict, expected a list"),
        (lambda tree: tree["asset"].update(version="1.0"), "glTF of version 1.0, expected 2.0"),
    ],
)
def test_nothing_in_a_file_is_trusted(tmp_path: Path, change: Any, reason: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(1000))
    glb = Glb()
    glb.node(glb.box())
    tree = text_of(glb)
    change(tree)
    assert reason in rejection(json.dumps(tree).encode(), root, "a.gltf")


def test_a_count_without_bytes_takes_no_memory(tmp_path: Path) -> None:
    glb = Glb()
    glb.node(glb.box())
    del glb.tree["accessors"][1]["bufferView"]
    glb.tree["accessors"][1]["count"] = 10**12
    assert "claims 1000000000000 values that are not in the file" in rejection(glb, tmp_path)


def test_copies_of_copies_take_no_memory(tmp_path: Path) -> None:
    glb = Glb("EXT_mesh_gpu_instancing")
    moves = glb.accessor(np.zeros((70000, 3), "f4"))
    instances = {"EXT_mesh_gpu_instancing": {"attributes": {"TRANSLATION": moves}}}
    faces = np.tile(BOX_FACES, 50)
    mesh = glb.mesh("box", BOX_VERTICES, faces, {})
    glb.node(mesh, extensions=instances)
    assert "when all copies are placed" in rejection(glb, tmp_path)


def test_every_cut_and_many_flips_are_rejections(tmp_path: Path) -> None:
    glb = Glb("KHR_draco_mesh_compression")
    glb.texture(NOISE[:8, :8])
    material = glb.add("materials", {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}})
    draco(glb, "box", BOX_VERTICES, BOX_FACES.reshape(-1, 3).astype("u4"))
    glb.node(glb.box(material=material))
    data = glb.content()
    rng = np.random.default_rng(0)
    broken = [data[:end] for end in range(0, len(data), 41)]
    for _ in range(200):
        flipped = bytearray(data)
        flipped[rng.integers(0, len(data))] = rng.integers(0, 256)
        broken.append(bytes(flipped))
    outcomes = set()
    for content in broken:
        try:
            found = sampled(content, tmp_path)
            outcomes.add(found.points.shape)
        except RejectedItem as rejected:
            outcomes.add(rejected.reason[:6])
    assert (200, 3) in outcomes
    assert "cannot" in outcomes


def test_external_files_are_found_by_escaped_and_plain_names(tmp_path: Path) -> None:
    (tmp_path / "my folder").mkdir()
    glb = Glb()
    glb.node(glb.box())
    tree = text_of(glb)
    (tmp_path / "my folder/a b.bin").write_bytes(glb.binary)
    for uri in ("my%20folder/a%20b.bin", "my folder/a b.bin", "my folder\\a b.bin", "./my folder/a b.bin"):
        tree["buffers"][0]["uri"] = uri
        assert len(scene_of(json.dumps(tree).encode(), tmp_path, "a.gltf").parts) == 1
    assert PLATE_UV.shape == (4, 2)
