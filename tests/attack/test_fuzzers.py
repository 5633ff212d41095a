"""Short forms of the fuzzers of shapes and captions, and bombs: a scene or a rejection, within bounds."""

from __future__ import annotations

import io
import json
import os
import signal
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from align3d.sources.meshes.scene import MeshPart
from align3d.sources.meshes.scene_readers import read_scene
from align3d.sources.meshes.texture_images import MOST_BYTES, UnreadableImage, decode_image
from tests.align3d.sources.meshes.glb_writer import BOX_FACES, BOX_VERTICES, Glb, png
from tests.attack import caption_fuzzer, mesh_fuzzer
from tests.attack.limited_child import LimitedChild, Verdict

SECONDS = 4.0


def png_bomb(width: int, height: int, color: int = 2) -> bytes:
    """A black PNG, written without its pixels in memory."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = bytes(1 + width * {0: 1, 2: 3}[color])
    packer = zlib.compressobj(9)
    data = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    header = struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def glb_of_images(images: list[bytes]) -> bytes:
    glb = Glb()
    for image in images:
        glb.plate({"pbrMetallicRoughness": {"baseColorTexture": {"index": glb.texture(image)}}})
    return glb.content()


def header_of(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds nothing."""
    small = bytearray(png(np.zeros((2, 2, 3), np.uint8)))
    small[16:24] = struct.pack(">II", width, height)
    small[29:33] = struct.pack(">I", zlib.crc32(small[12:29]))
    return bytes(small)


def nested(depth: int) -> bytes:
    glb = Glb()
    mesh = glb.box()
    for number in range(depth):
        glb.add("nodes", {"children": [number + 1], "translation": [0, 0, 0]})
    glb.add("nodes", {"mesh": mesh})
    glb.tree["scenes"][0]["nodes"] = [0]
    return glb.content()


def repeated(levels: int, times: int) -> bytes:
    """VRML in which each group shows the one before, once or more."""
    corners = "coord Coordinate { point [ 0 0 0, 1 0 0, 0 1 0 ] } coordIndex [ 0 1 2 ]"
    shape = f"Shape {{ geometry IndexedFaceSet {{ {corners} }} }}"
    lines = ["#VRML V2.0 utf8", f"DEF G0 Group {{ children {shape} }}"]
    lines += [f"DEF G{k} Group {{ children [ {f'USE G{k - 1} ' * times}] }}" for k in range(1, levels)]
    return "\n".join(lines).encode()


def claims(change: str) -> bytes:
    glb = Glb("EXT_mesh_gpu_instancing")
    moves = glb.accessor(np.zeros((2, 3), "f4"))
    glb.node(glb.box(), extensions={"EXT_mesh_gpu_instancing": {"attributes": {"TRANSLATION": moves}}})
    kind, key = change.split(".")
    for entry in glb.tree[kind]:
        entry[key] = 10**12
    return glb.content()


def many_primitives() -> bytes:
    """A million triangles in a thousand nodes that share one accessor."""
    glb = Glb()
    mesh = glb.mesh("box", BOX_VERTICES, np.tile(BOX_FACES, 30_000), {})
    for _ in range(1000):
        glb.node(mesh)
    return glb.content()


PLY = (
    "ply\nformat {} 1.0\nelement vertex {}\n"
    "property float x\nproperty float y\nproperty float z\n{}end_header\n"
)
FACE = "element face {}\nproperty list uint int vertex_indices\n"
BOMBS = {
    "obj.obj": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 1000000000000\nf -1000000000000 1 2\n",
    "vertices.ply": PLY.format("binary_little_endian", 10**12, "").encode() + bytes(100),
    "lists.ply": PLY.format("binary_little_endian", 1, FACE.format(1)).encode() + bytes(12) + b"\xff" * 4,
    "empty.ply": PLY.format("ascii", 10**12, "").replace("property float x\n", "").encode() + b"0 0 0\n",
    "nothing.ply": b"ply\nformat ascii 1.0\nelement vertex 1000000000000\nend_header\n",
    "faces.ply": PLY.format("ascii", 3, FACE.format(10**12)).encode() + b"0 0 0 1 0 0 0 1 0 3 0 1 2\n",
    "a.off": b"OFF\n1000000000000 1000000000000 0\n0 0 0\n",
    "corners.off": b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n1000000000000 0 1 2\n",
    "a.stl": bytes(80) + b"\xff" * 4 + bytes(100),
    "points.pts": b"1000000000000\n0 0 0\n1 1 1\n",
    "columns.xyz": b"1 " * 1_000_000 + b"\n",
    "deep.wrl": b"#VRML V2.0 utf8\n" + b"Group { children [ " * 100_000,
    "brackets.wrl": b"#VRML V2.0 utf8\nGroup { children " + b"[" * 500_000,
    "doubled.wrl": repeated(60, 2),
    "chain.wrl": repeated(20_000, 1),
    "itself.wrl": b"#VRML V2.0 utf8\nDEF A Group { children [ USE A ] }",
    "count.glb": claims("accessors.count"),
    "length.glb": claims("bufferViews.byteLength"),
    "stride.glb": claims("bufferViews.byteStride"),
    "nested.glb": nested(20_000),
    "primitives.glb": many_primitives(),
    "brackets.gltf": b"[" * 1_000_000,
    "objects.gltf": b'{"a":' * 500_000,
    "claimed.glb": glb_of_images([header_of(40_000, 40_000)]),
    "pixels.glb": glb_of_images([png_bomb(9000, 9000)]),
    "images.glb": glb_of_images([png_bomb(4000, 4000)] * 12),
}


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LimitedChild, str]]:
    folder = tmp_path_factory.mktemp("attack")
    mesh_fuzzer.prepare(folder)
    with LimitedChild("tests.attack.mesh_fuzzer:attempt") as made:
        yield made, str(folder)


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_read_or_refused_within_bounds(child: tuple[LimitedChild, str], name: str) -> None:
    process, folder = child
    verdict = process.try_case(folder, name, BOMBS[name])
    assert verdict.allowed, verdict


def test_what_is_too_large_to_decode_is_listed_and_the_shape_stays(tmp_path: Path) -> None:
    whole = png(np.full((2, 2, 3), 9, np.uint8))
    (tmp_path / "a.glb").write_bytes(glb_of_images([header_of(40_000, 40_000), whole]))
    scene = read_scene(tmp_path / "a.glb", tmp_path)
    assert [part.appearance.texture is None for part in scene.parts if isinstance(part, MeshPart)] == [
        True,
        False,
    ]
    (lost,) = scene.lost
    assert lost.endswith("an image of 40000 x 40000 pixels, more than 256 MiB when it is decoded")


def test_the_bounds_hold_where_something_breaks_them() -> None:
    with LimitedChild(f"{__name__}:break_a_bound") as process:
        outcomes = [process.try_case(what).outcome for what in ("nothing", "raise", "memory", "die", "warn")]
    assert outcomes == ["read", "raised", "took memory", "ended the process", "raised"]


def break_a_bound(what: str) -> Verdict:
    """Do in a child what must be found out."""
    if what == "raise":
        raise ValueError(what)
    if what == "memory":
        return Verdict("read", str(np.ones(3 << 27).sum()))
    if what == "die":
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "warn":
        warnings.warn("a line on the terminal", stacklevel=1)
    return Verdict("read")


def test_fuzzed_shapes_are_read_or_rejected() -> None:
    found = mesh_fuzzer.attack(SECONDS, seed=0)
    assert not found.faults, found
    assert {outcome for _, outcome in found.tried} == {"read", "refused"}


def test_fuzzed_captions_are_read_or_refused() -> None:
    found = caption_fuzzer.attack(SECONDS, seed=0)
    assert not found.faults, found
    assert {outcome for _, outcome in found.tried} == {"read", "refused"}


CAPTIONS = {
    "path.csv": b"path,caption\n" + b"x" * 300 + b".xyz,a chair\na.xyz,a table\n",
    "surrogate.jsonl": b'{"path": "\\ud800.xyz", "caption": "a"}\n{"path": "a.xyz", "caption": "\\udfff"}\n'
    b'{"path": "a.xyz", "caption": "b"}\n',
    "line.csv": b"path,caption\na.xyz," + b"word " * 2_000_000 + b"\n",
    "columns.csv": b"path,caption," + b",".join(b"c%d" % k for k in range(300_000)) + b"\na.xyz,b\n",
    "quote.csv": b'path,caption\n"a.xyz,' + b'""' * 1_000_000,
    "depth.jsonl": b'{"path": "a.xyz", "caption": ' + b"[" * 1_000_000,
    "number.jsonl": json.dumps({"path": "a.xyz", "caption": "b", "unit": 10**4000}).encode(),
}


@pytest.mark.parametrize("name", CAPTIONS)
def test_captions_that_are_bombs_are_read_or_refused_within_bounds(tmp_path: Path, name: str) -> None:
    caption_fuzzer.prepare(tmp_path)
    with LimitedChild("tests.attack.caption_fuzzer:attempt") as process:
        verdict = process.try_case(str(tmp_path), name, CAPTIONS[name])
    assert verdict.allowed, verdict


def test_a_progressive_jpeg_is_bounded_before_its_scans_are_kept() -> None:
    file = io.BytesIO()
    Image.new("RGB", (600, 400)).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    assert decode_image(data).shape == (400, 600, 3)
    start = data.index(b"\xff\xc2") + 5
    claimed = data[:start] + struct.pack(">HH", 60_000, 60_000) + data[start + 4 :]
    with pytest.raises(UnreadableImage, match=f"60000 x 60000 pixels, more than {MOST_BYTES >> 20} MiB"):
        decode_image(claimed)
