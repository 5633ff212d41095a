"""The glTF reader: right sizes, right colors, and a reason for what is lost and for each file refused."""

from __future__ import annotations

import base64
import json
import math
import struct
from pathlib import Path
from typing import Any

import DracoPy
import numpy as np
import pytest
from PIL import Image

from align3d.errors import RejectedItem
from align3d.sources.meshes.scene import CloudPart, MeshPart, Scene
from align3d.sources.meshes.scene_readers import read_scene
from align3d.sources.surface import ColoredPoints, sample_scene
from tests.align3d.sources.meshes.glb_writer import (
    BOX_FACES,
    BOX_VERTICES,
    PLATE_FACES,
    PLATE_UV,
    PLATE_VERTICES,
    Glb,
    png,
)

GREEN = np.full((8, 8, 3), (0, 160, 0), np.uint8)
ATLAS = np.full((64, 64, 3), (200, 0, 0), np.uint8)
ATLAS[:32, 32:] = (0, 160, 0)
QUARTER_UV = np.array([[0.6, 0.1], [0.9, 0.1], [0.9, 0.4], [0.6, 0.4]], "f4")  # within the green quarter
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


TINTS = {
    "u1": (np.tile(np.array([200, 0, 0, 255], "u1"), (8, 1)), True),
    "u2": (np.tile(np.array([51400, 0, 0, 65535], "u2"), (8, 1)), True),
    "f4": (np.tile(np.array([200 / 255, 0, 0, 1], "f4"), (8, 1)), False),
    "rgb f4": (np.tile(np.array([200 / 255, 0, 0], "f4"), (8, 1)), False),
    "u1 not marked": (np.tile(np.array([200, 0, 0, 255], "u1"), (8, 1)), False),
}


@pytest.mark.parametrize("kind", TINTS)
@pytest.mark.parametrize(
    ("material", "expected"),
    [
        (None, (200, 0, 0)),
        ({}, (200, 0, 0)),
        ({"pbrMetallicRoughness": {"baseColorFactor": [0.5, 0.5, 0.5, 1]}}, (100, 0, 0)),
    ],
)
def test_vertex_colors_stand_beside_any_material(
    tmp_path: Path, kind: str, material: dict[str, Any] | None, expected: tuple[int, ...]
) -> None:
    values, normalized = TINTS[kind]
    glb = Glb()
    tint = glb.accessor(values, normalized=normalized)
    more = {} if material is None else {"material": glb.add("materials", material)}
    glb.node(glb.mesh("box", BOX_VERTICES, BOX_FACES, {"COLOR_0": tint}, **more))
    assert color(glb, tmp_path) == expected
    assert scene_of(glb, tmp_path).lost == ()


def test_factor_texture_and_vertex_colors_multiply(tmp_path: Path) -> None:
    glb = Glb()
    info = {"index": glb.texture(np.full((2, 2, 3), (200, 100, 50), np.uint8))}
    tint = glb.accessor(np.tile(np.array([255, 51, 255], "u1"), (4, 1)), normalized=True)
    factor = [0.5, 1, 1, 1]
    glb.plate({"pbrMetallicRoughness": {"baseColorFactor": factor, "baseColorTexture": info}}, COLOR_0=tint)
    assert color(glb, tmp_path) == (100, 20, 50)


def test_materials_say_their_color_in_several_ways(tmp_path: Path) -> None:
    gloss = "KHR_materials_pbrSpecularGlossiness"
    for material, expected in [
        (
            {"extensions": {gloss: {"diffuseFactor": [0, 0.5, 0, 1], "specularFactor": [0.04] * 3}}},
            (0, 128, 0),
        ),
        ({"extensions": {gloss: {"diffuseTexture": {"index": 0}}}}, (0, 160, 0)),
        ({"extensions": {gloss: {}}, "pbrMetallicRoughness": {"baseColorFactor": [1, 0, 0, 1]}}, (255, 0, 0)),
        ({"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}, (0, 160, 0)),
        (
            {
                "pbrMetallicRoughness": {"baseColorTexture": {"index": 0}},
                "extensions": {"KHR_materials_unlit": {}},
            },
            (0, 160, 0),
        ),
        ({"emissiveTexture": {"index": 0}, "emissiveFactor": [1, 1, 1]}, (0, 160, 0)),
        (
            {
                "pbrMetallicRoughness": {"baseColorFactor": [0, 0, 0, 1]},
                "emissiveTexture": {"index": 0},
                "emissiveFactor": [1, 1, 1],
            },
            (0, 160, 0),
        ),
        (
            {"pbrMetallicRoughness": {"baseColorFactor": [0.2, 0, 0, 1]}, "emissiveFactor": [0.2, 0.4, 0]},
            (102, 102, 0),
        ),
        ({"emissiveTexture": {"index": 0}}, (255, 255, 255)),  # its factor is black: it does not glow
    ]:
        glb = Glb()
        glb.texture(GREEN)
        glb.plate(material)
        assert color(glb, tmp_path) == expected, material


def test_texture_transforms_and_second_coordinates(tmp_path: Path) -> None:
    to_green = {"offset": [0.5, 0], "scale": [0.5, 0.5]}
    assert color(textured(ATLAS, {"extensions": {"KHR_texture_transform": to_green}}), tmp_path) == (
        0,
        160,
        0,
    )
    for info in (
        {"texCoord": 1},
        {"texCoord": 0, "extensions": {"KHR_texture_transform": {"texCoord": 1}}},
    ):
        glb = Glb()
        glb.texture(ATLAS)
        coordinates = glb.accessor(EMPTY), glb.accessor(QUARTER_UV)
        glb.plate(
            {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0, **info}}},
            TEXCOORD_0=coordinates[0],
            TEXCOORD_1=coordinates[1],
        )
        assert color(glb, tmp_path) == (0, 160, 0)


def test_a_texture_transform_turns_as_renderers_do(tmp_path: Path) -> None:
    """Counter-clockwise with v downwards: (1, 0) goes to (0, -1), after the scale and before the offset."""
    four = np.array([[[10, 0, 0], [20, 0, 0]], [[30, 0, 0], [40, 0, 0]]], np.uint8)
    turn = {"rotation": math.pi / 2, "scale": [0.5, 1], "offset": [0, 1]}
    found = sampled(textured(four, {"extensions": {"KHR_texture_transform": turn}}), tmp_path)
    u, v = found.points[:, 0] / 2, 1 - found.points[:, 1]
    column, row = (v > 0.5).astype(int), (1 - u / 2 > 0.5).astype(int)
    np.testing.assert_array_equal(found.colors[:, 0], four[row, column, 0])


def test_samplers_wrap_clamp_or_mirror(tmp_path: Path) -> None:
    two = np.array([[[10, 0, 0], [20, 0, 0]]], np.uint8)
    for wrap, expected in ((10497, 10), (33071, 20), (33648, 20), (None, 10)):
        glb = Glb()
        sampler = glb.add("samplers", {} if wrap is None else {"wrapS": wrap})
        glb.texture(two, sampler=sampler)
        beyond = glb.accessor(np.tile(np.array([1.2, 0.5], "f4"), (4, 1)))
        glb.plate({"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}, TEXCOORD_0=beyond)
        assert color(glb, tmp_path) == (expected, 0, 0)


def test_coordinates_of_whole_numbers_are_fractions(tmp_path: Path) -> None:
    glb = Glb()
    glb.texture(ATLAS)
    coordinates = glb.accessor((QUARTER_UV * 65535).astype("u2"), normalized=True)
    glb.plate({"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}, TEXCOORD_0=coordinates)
    assert color(glb, tmp_path) == (0, 160, 0)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (png(np.full((8, 8), 40000, np.uint16)), (156, 156, 156)),
        (png(np.full((8, 8), 160, np.uint8)), (160, 160, 160)),
        (png(np.full((8, 8, 2), 160, np.uint8)), (160, 160, 160)),
        (png(np.full((8, 8), True)), (255, 255, 255)),
        (png(np.full((8, 8, 4), (0, 0, 0, 0), np.uint8)), (0, 0, 0)),
        (png(Image.fromarray(GREEN).quantize()), (0, 160, 0)),
        (png(Image.fromarray(GREEN).convert("CMYK"), "TIFF"), (0, 160, 0)),
        (png(np.full((8, 8), 0.5, np.float32), "TIFF"), (128, 128, 128)),
        (png(np.full((8, 8), 40000, np.int32), "TIFF"), (156, 156, 156)),
    ],
)
def test_images_of_every_mode(tmp_path: Path, image: bytes, expected: tuple[int, ...]) -> None:
    assert color(textured(image), tmp_path) == expected


def test_extensions_of_textures_go_before_the_plain_image(tmp_path: Path) -> None:
    for name, format, plain in (
        ("EXT_texture_webp", "WEBP", True),
        ("EXT_texture_avif", "AVIF", True),
        ("MSFT_texture_dds", "DDS", True),
        ("EXT_texture_webp", "WEBP", False),
    ):
        glb = Glb(name)
        glb.texture(np.zeros((8, 8, 3), np.uint8))
        better = glb.add("images", {"bufferView": glb.view(png(GREEN, format))})
        glb.tree["textures"] = [
            {"extensions": {name: {"source": better}}, **({"source": 0} if plain else {})}
        ]
        glb.plate({"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}})
        assert np.abs(np.subtract(color(glb, tmp_path), (0, 160, 0))).max() <= 4, format


NOISE = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (png(NOISE)[:4000], "a damaged image: image file is truncated"),
        (png(NOISE, "JPEG")[:2000], "a damaged image: image file is truncated"),
        (png(NOISE)[:200] + b"\0\0\0\0" + png(NOISE)[204:], "a damaged image: "),
        (b"", "an empty image"),
        (b"\xabKTX 20\xbb\r\n\x1a\n" + bytes(200), "KTX2 image"),
        (b"not an image", "not an image of a known format"),
    ],
)
def test_a_texture_that_is_lost_leaves_gray_and_a_reason(tmp_path: Path, image: bytes, reason: str) -> None:
    glb = textured(image, name="wood")
    assert color(glb, tmp_path) == (102, 102, 102)
    (line,) = scene_of(glb, tmp_path).lost
    assert line.startswith("texture of material 'wood': ")
    assert reason in line


def test_a_lost_texture_leaves_what_else_the_material_says(tmp_path: Path) -> None:
    glb = Glb()
    glb.texture(b"not an image")
    factor = {"baseColorFactor": [1, 0, 0, 1], "baseColorTexture": {"index": 0}}
    glb.plate({"pbrMetallicRoughness": factor})
    assert color(glb, tmp_path) == (255, 0, 0)
    assert len(scene_of(glb, tmp_path).lost) == 1


def test_an_unreadable_extension_falls_back_to_the_plain_image(tmp_path: Path) -> None:
    glb = Glb()
    glb.texture(GREEN)
    other = glb.add("images", {"bufferView": glb.view(b"\xabKTX 20\xbb\r\n\x1a\n" + bytes(200))})
    glb.tree["textures"][0]["extensions"] = {"KHR_texture_basisu": {"source": other}}
    glb.plate({"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}})
    assert color(glb, tmp_path) == (0, 160, 0)
    assert scene_of(glb, tmp_path).lost == ()


def test_a_texture_without_coordinates_is_told(tmp_path: Path) -> None:
    for coordinates in (None, np.full((4, 2), np.nan, "f4")):
        glb = textured(GREEN)
        attributes = glb.tree["meshes"][0]["primitives"][0]["attributes"]
        if coordinates is None:
            del attributes["TEXCOORD_0"]
        else:
            attributes["TEXCOORD_0"] = glb.accessor(coordinates)
        assert color(glb, tmp_path) == (102, 102, 102)
        assert scene_of(glb, tmp_path).lost == ("texture of material 0 has no coordinates TEXCOORD_0",)


def test_a_shared_image_is_decoded_once(tmp_path: Path) -> None:
    glb = Glb()
    for _ in range(3):
        glb.add("textures", {"source": 0})
    glb.texture(GREEN)
    for number in range(4):
        glb.plate({"pbrMetallicRoughness": {"baseColorTexture": {"index": number}}})
    images = [part.appearance.texture.image for part in scene_of(glb, tmp_path).parts]  # type: ignore[union-attr]
    assert len(images) == 4
    assert all(image is images[0] for image in images)


def test_quantized_positions_and_their_scale(tmp_path: Path) -> None:
    glb = Glb("KHR_mesh_quantization")
    padded = np.zeros((8, 4), "u2")
    padded[:, :3] = BOX_VERTICES * 65535
    view = glb.view(padded.tobytes(), byteStride=8)
    glb.node(glb.box(), scale=[2, 1, 1])
    glb.tree["accessors"][0] |= {"bufferView": view, "componentType": 5123, "normalized": True}
    assert size(glb, tmp_path) == [2, 1, 1]
    glb.tree["accessors"][0]["normalized"] = False
    assert size(glb, tmp_path) == [131070, 65535, 65535]
    signed = glb.view(
        np.pad(((BOX_VERTICES * 2 - 1) * 127).astype("i1"), ((0, 0), (0, 1))).tobytes(), byteStride=4
    )
    glb.tree["accessors"][0] |= {"bufferView": signed, "componentType": 5120, "normalized": True}
    assert size(glb, tmp_path) == [4, 2, 2]


def test_sparse_accessors(tmp_path: Path) -> None:
    glb = Glb()
    glb.node(glb.box())
    one = glb.view(np.array([7], "u2").tobytes()), glb.view(np.array([[3, 3, 3]], "f4").tobytes())
    corner = {
        "count": 1,
        "indices": {"bufferView": one[0], "componentType": 5123},
        "values": {"bufferView": one[1]},
    }
    glb.tree["accessors"][0]["sparse"] = corner
    assert size(glb, tmp_path) == [3, 3, 3]
    everything = glb.view(np.arange(8, dtype="u2").tobytes()), glb.tree["accessors"][0].pop("bufferView")
    glb.tree["accessors"][0]["sparse"] = {
        "count": 8,
        "indices": {"bufferView": everything[0], "componentType": 5123},
        "values": {"bufferView": everything[1]},
    }
    assert size(glb, tmp_path) == [1, 1, 1]
    glb.tree["accessors"][0]["sparse"] = corner | {
        "indices": {"bufferView": everything[0], "componentType": 5125}
    }
    assert "changes a value that is not there" in rejection(glb, tmp_path)


def test_instances_are_all_there(tmp_path: Path) -> None:
    glb = Glb("EXT_mesh_gpu_instancing")
    moves = glb.accessor(np.array([[0, 0, 0], [4, 0, 0], [8, 0, 0]], "f4"))
    turns = glb.accessor(np.array([[0, 0, 0, 127], [0, 0, 90, 90], [0, 0, 0, 127]], "i1"), normalized=True)
    glb.node(glb.box(), extensions={"EXT_mesh_gpu_instancing": {"attributes": {"TRANSLATION": moves}}})
    assert size(glb, tmp_path) == [9, 1, 1]
    attributes = {"TRANSLATION": moves, "ROTATION": turns}
    glb.tree["nodes"][0]["extensions"]["EXT_mesh_gpu_instancing"]["attributes"] = attributes
    second = scene_of(glb, tmp_path).parts[1]
    assert isinstance(second, MeshPart)
    np.testing.assert_allclose(second.vertices.min(axis=0), [3, 0, 0], atol=1e-6)  # a quarter turn about z
    glb.tree["accessors"][turns]["count"] = 2
    assert "has [2, 3] instances" in rejection(glb, tmp_path)


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


def test_bodies_of_draco_are_decoded(tmp_path: Path) -> None:
    glb = Glb("KHR_draco_mesh_compression")
    red = np.tile(np.array([200, 0, 0, 255], np.uint8), (8, 1))
    draco(glb, "cabinet", BOX_VERTICES * 2, BOX_FACES.reshape(-1, 3).astype("u4"), colors=red)
    glb.node(glb.box(), scale=[0.1, 0.1, 0.1])
    assert size(glb, tmp_path) == [2, 2, 2]
    found = sampled(glb, tmp_path)
    assert found.part_names == ("cabinet", "box")
    cabinet = found.colors[found.part == 0]
    assert len(cabinet) > 150
    assert (cabinet == [200, 0, 0]).all()


def test_draco_coordinates_color_its_texture(tmp_path: Path) -> None:
    glb = Glb("KHR_draco_mesh_compression")
    glb.texture(ATLAS)
    uv = QUARTER_UV.astype(np.float64)
    primitive = draco(glb, "plate", PLATE_VERTICES, PLATE_FACES.reshape(-1, 3).astype("u4"), tex_coord=uv)
    primitive["material"] = glb.add("materials", {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}})
    assert color(glb, tmp_path) == (0, 160, 0)


def test_damaged_draco_rejects_the_whole_file(tmp_path: Path) -> None:
    glb = Glb("KHR_draco_mesh_compression")
    primitive = draco(glb, "cabinet", BOX_VERTICES, BOX_FACES.reshape(-1, 3).astype("u4"))
    glb.node(glb.box(), scale=[0.1, 0.1, 0.1])
    compressed = primitive["extensions"]["KHR_draco_mesh_compression"]
    compressed["attributes"]["POSITION"] = 7
    assert "its KHR_draco_mesh_compression lacks the attribute POSITION" in rejection(glb, tmp_path)
    compressed["bufferView"] = glb.view(b"DRACO\x02\x02\x01\x01\x00\x00" + bytes(64))
    assert "its KHR_draco_mesh_compression is damaged" in rejection(glb, tmp_path)
    del primitive["extensions"]
    assert "vertices that are neither in the file" in rejection(glb, tmp_path)


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


def test_bodies_of_meshopt_are_decoded(tmp_path: Path) -> None:
    glb = Glb("EXT_meshopt_compression")
    packed_box(glb, PACKED_CORNERS, PACKED_TRIANGLES)
    glb.tree["meshes"][0]["primitives"][0]["attributes"]["NORMAL"] = 99  # is not looked at
    found = sampled(glb, tmp_path)
    np.testing.assert_array_equal(found.corners, [[-0.5] * 3, [0.5] * 3])
    np.testing.assert_allclose(np.abs(found.points).max(axis=1), 0.5)  # every point on the surface


def test_meshopt_that_cannot_be_decoded_is_refused_by_name(tmp_path: Path) -> None:
    for corners, more, reason in (
        (PACKED_CORNERS[:40], {}, "EXT_meshopt_compression: cut"),
        (b"\xa1" + PACKED_CORNERS[1:], {}, "EXT_meshopt_compression: damaged, cut, or of another version"),
        (
            PACKED_CORNERS,
            {"filter": "OCTAHEDRAL"},
            "EXT_meshopt_compression: filter OCTAHEDRAL, which is not",
        ),
        (PACKED_CORNERS, {"count": 10**9}, "EXT_meshopt_compression claims 1000000000 elements"),
        (PACKED_CORNERS, {"count": 10**7}, "EXT_meshopt_compression: cut"),
        (PACKED_CORNERS, {"byteLength": 10**9}, "EXT_meshopt_compression reaches to byte"),
    ):
        glb = Glb("EXT_meshopt_compression")
        packed_box(glb, corners, PACKED_TRIANGLES, **more)
        assert reason in rejection(glb, tmp_path)


def test_plain_bytes_go_before_compressed_ones(tmp_path: Path) -> None:
    glb = Glb()
    glb.node(glb.box())
    packed = {"buffer": 0, "byteLength": 40, "byteStride": 12, "count": 8, "mode": "ATTRIBUTES"}
    glb.tree["bufferViews"][0] |= {"buffer": 1, "extensions": {"EXT_meshopt_compression": packed}}
    plain = base64.b64encode(BOX_VERTICES.tobytes()).decode()
    uri = f"data:application/octet-stream;base64,{plain}"
    glb.tree["buffers"] = [{"byteLength": len(glb.binary)}, {"byteLength": 96, "uri": uri}]
    assert size(glb, tmp_path) == [1, 1, 1]


def test_an_unknown_required_extension_is_refused_by_name(tmp_path: Path) -> None:
    glb = Glb("KHR_materials_clearcoat", "EXT_future_geometry")
    glb.node(glb.box())
    assert rejection(glb, tmp_path) == "requires the glTF extension EXT_future_geometry, which is not read"


def test_strips_fans_and_lists_without_indices(tmp_path: Path) -> None:
    strip, fan = PLATE_VERTICES[[0, 1, 3, 2]], PLATE_VERTICES
    normals = []
    for mode, vertices in ((5, strip), (6, fan)):
        glb = Glb()
        glb.node(glb.mesh("plate", vertices, np.arange(4, dtype="u2"), {}, mode=mode))
        (part,) = scene_of(glb, tmp_path).parts
        assert isinstance(part, MeshPart)
        corners = part.vertices[part.faces]
        normals.append(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2])
    np.testing.assert_array_equal(normals, np.full((2, 2), 2.0))  # 2 m2, all facing +z
    glb = Glb()
    glb.node(glb.mesh("box", BOX_VERTICES[BOX_FACES], np.zeros(3, "u2"), {}))
    del glb.tree["meshes"][0]["primitives"][0]["indices"]
    assert len(scene_of(glb, tmp_path).parts[0].faces) == 12  # type: ignore[union-attr]


def test_lines_have_no_surface_and_points_are_a_cloud(tmp_path: Path) -> None:
    line = np.array([[0, 0, 0], [9, 0, 0]], "f4")
    for mode in (1, 2, 3):
        glb = Glb()
        glb.node(glb.mesh("line", line, np.arange(2, dtype="u2"), {}, mode=mode))
        assert rejection(glb, tmp_path) == "lines alone: mesh without faces"
        glb.node(glb.box())
        assert size(glb, tmp_path) == [1, 1, 1]
    glb = Glb()
    tint = glb.accessor(np.arange(24, dtype="u1").reshape(8, 3), normalized=True)
    glb.node(glb.mesh("scan", BOX_VERTICES, np.arange(8, dtype="u2"), {"COLOR_0": tint}, mode=0))
    (cloud,) = scene_of(glb, tmp_path).parts
    assert isinstance(cloud, CloudPart)
    np.testing.assert_array_equal(cloud.colors, np.arange(24).reshape(8, 3))


def test_scenes_nodes_and_names(tmp_path: Path) -> None:
    glb = Glb()
    mesh = glb.box()
    glb.node(mesh)
    child = glb.add("nodes", {"mesh": mesh, "scale": [5, 5, 5]})
    glb.add("nodes", {"children": [child], "matrix": [1, 0, 0, 0, 0, 0, 1, 0, 0, -1, 0, 0, 7, 0, 0, 1]})
    glb.tree["scenes"].append({"nodes": [2]})
    assert size(glb, tmp_path) == [1, 1, 1]
    glb.tree["scene"] = 1
    found = sampled(glb, tmp_path)
    np.testing.assert_allclose(found.corners, [[7, -5, 0], [12, 0, 5]], atol=1e-9)  # a quarter turn about x
    assert found.part_names == ("box",)
    glb.tree["nodes"][2]["extensions"] = {"KHR_node_visibility": {"visible": False}}
    assert "no geometry" in rejection(glb, tmp_path)
    del glb.tree["nodes"][2]["extensions"]
    del glb.tree["scene"]
    assert size(glb, tmp_path) == [1, 1, 1]
    del glb.tree["scenes"]
    assert size(glb, tmp_path) == [12, 6, 5]
    del glb.tree["meshes"][0]["name"]
    glb.tree["nodes"][0]["name"] = "lid\ud800"
    assert sampled(glb, tmp_path).part_names == ("lid?",)


def test_parts_are_named_by_mesh_else_node_else_material(tmp_path: Path) -> None:
    glb = Glb()
    box = glb.box(material=glb.add("materials", {"name": "oak"}))
    for name in ("lid", "body", None):
        glb.node(box, **({} if name is None else {"name": name}))
    assert sampled(glb, tmp_path).part_names == ("box",)
    glb.tree["meshes"][0]["name"] = ""
    assert sampled(glb, tmp_path).part_names == ("lid", "body", "oak")
    vertices = [id(part.faces) for part in scene_of(glb, tmp_path).parts]  # type: ignore[union-attr]
    assert len(set(vertices)) == 1  # the mesh is read once
    glb.tree["meshes"][0]["name"] = "geometry_0"  # which programs make up
    assert sampled(glb, tmp_path).part_names == ()


def test_a_skin_says_where_its_mesh_is(tmp_path: Path) -> None:
    """Half of the box hangs on a joint that is moved by 3; the node's own scale does not count."""
    glb = Glb()
    joints = glb.accessor(np.pad((BOX_VERTICES[:, :1] > 0).astype("u1"), ((0, 0), (0, 3))))
    weights = glb.accessor(np.tile(np.array([255, 0, 0, 0], "u1"), (8, 1)), normalized=True)
    inverse = glb.accessor(np.tile(np.eye(4, dtype="f4").reshape(1, 16), (2, 1)))
    mesh = glb.mesh("body", BOX_VERTICES, BOX_FACES, {"JOINTS_0": joints, "WEIGHTS_0": weights})
    glb.node(mesh, skin=0, scale=[100, 100, 100])
    for move in (0, 3):
        glb.tree["scenes"][0]["nodes"].append(glb.add("nodes", {"translation": [move, 0, 0]}))
    glb.add("skins", {"joints": [1, 2], "inverseBindMatrices": inverse})
    assert size(glb, tmp_path) == [4, 1, 1]
    glb.tree["skins"][0]["joints"] = [1]
    assert "joints of vertices that are not there" in rejection(glb, tmp_path)


def test_morph_targets_count_with_their_weights(tmp_path: Path) -> None:
    glb = Glb()
    glb.node(glb.box())
    target = {"POSITION": glb.accessor(BOX_VERTICES * np.array([2, 0, 0], "f4"))}
    glb.tree["meshes"][0]["primitives"][0]["targets"] = [target]
    assert size(glb, tmp_path) == [1, 1, 1]
    glb.tree["meshes"][0]["weights"] = [0.5]
    assert size(glb, tmp_path) == [2, 1, 1]
    glb.tree["nodes"][0]["weights"] = [1.0]
    assert size(glb, tmp_path) == [3, 1, 1]


def text_of(glb: Glb) -> dict[str, Any]:
    """The JSON of a .gltf whose buffer is in the file."""
    data = base64.b64encode(glb.binary).decode()
    uri = f"data:application/octet-stream;base64,{data}"
    tree = {key: value for key, value in glb.tree.items() if value != []}
    return {**tree, "buffers": [{"byteLength": len(glb.binary), "uri": uri}]}


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


def test_coordinates_are_meters(tmp_path: Path) -> None:
    glb = Glb()
    glb.node(glb.box())
    assert scene_of(glb, tmp_path).unit_m == 1.0


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
