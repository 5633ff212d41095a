"""Fuzzer of everything that reads shapes: meshes, clouds, VRML, material libraries, images."""

from __future__ import annotations

import base64
import io
import json
import re
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, features

from align3d.errors import RejectedItem
from align3d.record import check_record, in_plain_text
from align3d.sources.folder import FolderSource
from align3d.sources.meshes.texture_images import UnreadableImage, decode_image
from align3d.sources.vrml import read_vrml
from tests.align3d.sources.meshes.glb_writer import BOX_FACES, BOX_VERTICES, Glb, png
from tests.align3d.sources.meshes.gltf_scenes import (
    ATLAS,
    PACKED_CORNERS,
    PACKED_TRIANGLES,
    draco,
    packed_box,
    text_of,
)
from tests.align3d.sources.meshes.test_damaged_files import GOOD, LIBRARY
from tests.attack.limited_child import Findings, LimitedChild, Verdict

Random = np.random.Generator
_HOSTILE = (
    *(
        "0",
        "-1",
        "1",
        "3",
        "255",
        "256",
        "65535",
        "65536",
        "2147483647",
        "2147483648",
        "4294967295",
        "-2147483648",
    ),
    *("9223372036854775807", "-9223372036854775808", "18446744073709551616", "99999999999999999999999"),
    *(
        "1000000000000",
        "1e400",
        "-1e400",
        "1e308",
        "1e-320",
        "nan",
        "inf",
        "-inf",
        "0x10",
        "1.5",
        "1e9",
        "--1",
        ".",
    ),
)
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
_WORD = re.compile(rb"[A-Za-z_]{3,}")
_VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        2,
        7,
        255,
        2**31,
        2**63,
        10**12,
        10**30,
        1.5,
        1e308,
        float("nan"),
        float("inf"),
    ),
    *(
        "",
        "x",
        "../x",
        "\ud800",
        "data:;base64,AAAA",
        [],
        {},
        [0],
        [[0]],
        [None],
        {"a": 1},
        [0] * 1000,
        ["x"],
    ),
)
_WRL_MORE = b"""#VRML V2.0 utf8
WorldInfo { title "a" }
DEF M Transform { rotation 0 1 0 1.5 scale 2 2 2 scaleOrientation 1 0 0 .2 center 1 0 0 children [
Switch { whichChoice 0 choice [ LOD { level [ DEF S Shape { geometry IndexedFaceSet {
coord DEF C Coordinate { point [ 0 0 0, 1 0 0, 1 1 0, 0 1 0 ] } coordIndex [ 0 1 2 3 -1 ]
colorIndex [ 0 1 2 0 -1 ] color Color { color [ 1 0 0, 0 1 0, 0 0 1 ] } } } ] } ] }
Group { children [ USE S, Anchor { children USE S } ] } ] }
"""


def _glb(*required: str) -> Glb:
    glb = Glb(*required)
    material = {"pbrMetallicRoughness": {"baseColorTexture": {"index": glb.texture(ATLAS[:8, :8])}}}
    glb.plate(material, COLOR_0=glb.accessor(np.full((4, 4), 200, "u1"), normalized=True))
    return glb


def _posed() -> Glb:
    """A box with a skin, morph targets, instances, a sparse accessor, strips and points."""
    glb = _glb("EXT_mesh_gpu_instancing")
    mesh = glb.box()
    joints, weights = glb.accessor(np.zeros((8, 4), "u1")), glb.accessor(np.full((8, 4), 0.25, "f4"))
    moves = glb.accessor(np.ones((8, 3), "f4"))
    primitive = glb.tree["meshes"][mesh]["primitives"][0]
    primitive["attributes"] |= {"JOINTS_0": joints, "WEIGHTS_0": weights}
    primitive["targets"] = [{"POSITION": moves}]
    bind = glb.accessor(np.tile(np.eye(4, dtype="f4").reshape(1, 16), (1, 1)))
    joint = glb.add("nodes", {"translation": [1, 0, 0], "rotation": [0, 0, 0, 1]})
    skin = glb.add("skins", {"joints": [joint], "inverseBindMatrices": bind})
    glb.node(mesh, skin=skin, weights=[0.5])
    places = {"EXT_mesh_gpu_instancing": {"attributes": {"TRANSLATION": glb.accessor(np.eye(3, dtype="f4"))}}}
    glb.node(mesh, extensions=places, children=[joint])
    indices, values = glb.view(np.array([1, 2], "u2").tobytes()), glb.view(np.ones((2, 3), "f4").tobytes())
    sparse = {
        "count": 2,
        "indices": {"bufferView": indices, "componentType": 5123},
        "values": {"bufferView": values},
    }
    position = glb.add("accessors", {"componentType": 5126, "count": 8, "type": "VEC3", "sparse": sparse})
    strip = {"attributes": {"POSITION": position}, "mode": 5}
    cloud = {"attributes": {"POSITION": position}, "mode": 0}
    glb.node(glb.add("meshes", {"name": "more", "primitives": [strip, cloud]}))
    return glb


@cache
def good_files() -> dict[str, bytes]:
    """Sound files of every kind, by name."""
    bodies = _glb("KHR_draco_mesh_compression")
    draco(bodies, "box", BOX_VERTICES, BOX_FACES.reshape(-1, 3).astype("u4"))
    packed = Glb("EXT_meshopt_compression")
    packed_box(packed, PACKED_CORNERS, PACKED_TRIANGLES)
    linked = text_of(_glb())
    linked["images"] = [{"uri": "a.png"}]
    cloud = b"".join(b"%d %d 1 %d 0 0\n" % (k, k * k, 50 * k) for k in range(5))
    files = {
        **GOOD,
        "more.wrl": _WRL_MORE,
        "a.glb": _glb().content(),
        "posed.glb": _posed().content(),
        "draco.glb": bodies.content(),
        "meshopt.glb": packed.content(),
        "a.gltf": json.dumps(linked).encode(),
        "posed.gltf": json.dumps(text_of(_posed())).encode(),
        "a.pts": b"5\n" + cloud,
        "a.xyzrgb": cloud,
        "comma.xyz": cloud.replace(b" ", b";"),
        "a.stl_ascii": GOOD["ascii.stl"],
        "a.mtl": LIBRARY,
    }
    return files | images()


@cache
def images() -> dict[str, bytes]:
    """Sound images of the kinds that textures come in."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (33, 47, 3), dtype=np.uint8))
    found = {
        "a.png": png(picture),
        "palette.png": png(picture.convert("P")),
        "gray.png": png(picture.convert("L")),
        "deep.png": png(picture.convert("I;16")),
        "a.jpg": png(picture, "JPEG"),
        **{f"a.{kind.lower()}": png(picture, kind) for kind in ("GIF", "BMP", "TGA", "TIFF", "DDS", "PPM")},
    }
    progressive = io.BytesIO()
    picture.save(progressive, "JPEG", progressive=True)
    found["progressive.jpg"] = progressive.getvalue()
    for module, kind in (("webp", "WEBP"), ("jpg_2000", "JPEG2000"), ("avif", "AVIF")):
        if features.check(module):
            found[f"a.{kind.lower()}"] = png(picture, kind)
    return found


def attempt(folder: str, name: str, content: bytes) -> Verdict:
    """Read a file as a build would, in this process; the sampled shape must keep the contract of records."""
    root, suffix = Path(folder), Path(name).suffix
    if name in images():
        try:
            pixels = decode_image(content)
        except UnreadableImage as error:
            return Verdict("refused", str(error))
        assert pixels.dtype == np.uint8, pixels.dtype
        assert pixels.ndim == pixels.shape[2] == 3, pixels.shape
        return Verdict("read")
    if suffix == ".mtl":
        (root / "b.mtl").write_bytes(content)
        suffix, content = ".obj", GOOD["a.obj"].replace(b"a.mtl", b"b.mtl")
    path = root / f"shape{suffix}"
    path.write_bytes(content)
    try:
        if suffix == ".wrl":  # as KiCad's source does
            with np.errstate(all="ignore"):
                read_vrml(path)
        source = FolderSource(root)
        record = in_plain_text(source.read(source.item_of(path.name, "a caption"), 64, 0))
        check_record(record, 64)
    except RejectedItem as error:
        # The words of a program are for damaged glTF alone, whose JSON can be wrong in too many ways to name.
        own = suffix not in (".glb", ".gltf", ".stl_ascii", ".step")
        says_nothing = not error.reason or (own and "Error: " in error.reason)
        return Verdict("refused in a program's words" if says_nothing else "refused", error.reason)
    return Verdict("read")


def mutated(name: str, good: bytes, rng: Random) -> bytes:
    """A file with one to four faults."""
    for _ in range(int(rng.integers(1, 5))):
        kinds: tuple[Callable[[bytes, Random], bytes], ...] = _MUTATIONS
        if name.endswith((".glb", ".gltf")):
            kinds = (*kinds, _change_json, _change_json, _change_json, _change_json)
        good = kinds[int(rng.integers(len(kinds)))](good, rng)
    return good[: 1 << 20]


def _at(data: bytes, rng: Random) -> int:
    return int(rng.integers(len(data) + 1))


def _flip(data: bytes, rng: Random) -> bytes:
    changed = bytearray(data or b"\0")
    for _ in range(int(rng.integers(1, 8))):
        changed[int(rng.integers(len(changed)))] = int(rng.integers(256))
    return bytes(changed)


def _cut(data: bytes, rng: Random) -> bytes:
    start, end = sorted((_at(data, rng), _at(data, rng)))
    return data[:start] + data[end:] if rng.random() < 0.7 else data[:end]


def _repeat(data: bytes, rng: Random) -> bytes:
    start, end = sorted((_at(data, rng), _at(data, rng)))
    times = int(rng.choice([2, 3, 50, 3000]))
    return data[:start] + data[start : min(end, start + 200)] * times + data[end:]


def _move(data: bytes, rng: Random) -> bytes:
    start, end = sorted((_at(data, rng), _at(data, rng)))
    place = _at(data, rng)
    return data[:place] + data[start:end] + data[place:]


def _number(data: bytes, rng: Random) -> bytes:
    found = list(_NUMBER.finditer(data))
    if not found:
        return data
    match = found[int(rng.integers(len(found)))]
    return data[: match.start()] + str(rng.choice(_HOSTILE)).encode() + data[match.end() :]


def _word(data: bytes, rng: Random) -> bytes:
    found = list(_WORD.finditer(data))
    if not found:
        return data
    one, other = (found[int(rng.integers(len(found)))] for _ in range(2))
    return data[: one.start()] + other[0] + data[one.end() :]


def _integer(data: bytes, rng: Random) -> bytes:
    """Four bytes of a binary count."""
    if len(data) < 4:
        return data
    place = int(rng.integers(len(data) - 3))
    value = int(rng.choice([0, 1, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x3FFFFFFF, 1 << 20]))
    return data[:place] + value.to_bytes(4, "little" if rng.random() < 0.7 else "big") + data[place + 4 :]


def _noise(data: bytes, rng: Random) -> bytes:
    place = _at(data, rng)
    return data[:place] + rng.bytes(int(rng.integers(1, 60))) + data[place:]


_MUTATIONS = (_flip, _cut, _repeat, _move, _number, _number, _word, _integer, _noise)


def _change_json(data: bytes, rng: Random) -> bytes:
    """A value, a key or an entry of the JSON of a glTF changed, its binary chunk left as it is."""
    binary = b""
    text = data
    if data[:4] == b"glTF":
        length = int.from_bytes(data[12:16], "little")
        text, binary = data[20 : 20 + length], data[20 + length :]
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        return data
    if not isinstance(tree, dict):
        return data
    places: list[tuple[Any, Any]] = []
    waiting: list[Any] = [tree]
    while waiting:
        node = waiting.pop()
        children = list(node.items() if isinstance(node, dict) else enumerate(node))
        places += [(node, key) for key, _ in children]
        waiting += [child for _, child in children if isinstance(child, dict | list)]
    if places:
        node, key = places[int(rng.integers(len(places)))]
        kind = rng.random()
        if kind < 0.15:
            del node[key]
        elif kind < 0.3:
            source, other = places[int(rng.integers(len(places)))]
            if other in (source if isinstance(source, dict) else range(len(source))):
                node[key] = json.loads(json.dumps(source[other]))
        elif kind < 0.4 and isinstance(node, list):
            node.extend([node[key]] * int(rng.choice([1, 10, 2000])))
        else:
            node[key] = _VALUES[int(rng.integers(len(_VALUES)))]
    text = json.dumps(tree).encode()
    if data[:4] != b"glTF":
        return text
    return data[:12] + len(text).to_bytes(4, "little") + b"JSON" + text + binary


def attack(seconds: float, seed: int, keep: Path | None = None, only: str = "") -> Findings:
    """Read damaged and hostile files until the time is up.

    Args:
        seconds: Seconds on the clock.
        seed: Seed of the files.
        keep: Folder for one file of each kind of fault; None keeps none.
        only: End of the names of the files to begin from; all where it is empty.
    """
    rng = np.random.default_rng(seed)
    found, end = Findings(), time.monotonic() + seconds
    files = {name: data for name, data in good_files().items() if name.endswith(only)}
    names = sorted(files)
    with tempfile.TemporaryDirectory() as folder, LimitedChild(f"{__name__}:attempt") as child:
        prepare(Path(folder))
        while time.monotonic() < end:
            name = names[int(rng.integers(len(names)))]
            content = mutated(name, files[name], rng)
            found.add(name, content, child.try_case(folder, name, content))
    if keep is not None:
        found.save(keep)
    return found


def prepare(folder: Path) -> None:
    """Put down the files that others name."""
    (folder / "captions.csv").write_text("path,caption\n")
    (folder / "a.mtl").write_bytes(LIBRARY)
    (folder / "a.png").write_bytes(images()["a.png"])


def as_data_uri(content: bytes) -> str:
    """A file's bytes as glTF holds them in its JSON."""
    return f"data:application/octet-stream;base64,{base64.b64encode(content).decode()}"


if __name__ == "__main__":
    import sys

    seconds, seed, *rest = sys.argv[1:]
    print(attack(float(seconds), int(seed), Path(rest[0]) if rest else None, rest[1] if rest[1:] else ""))
