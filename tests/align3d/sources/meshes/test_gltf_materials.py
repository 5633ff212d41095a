"""Materials of glTF: right colors, and a reason for each that is lost."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.align3d.sources.meshes.glb_writer import (
    BOX_FACES,
    BOX_VERTICES,
    Glb,
    png,
)
from tests.align3d.sources.meshes.gltf_scenes import (
    ATLAS,
    EMPTY,
    GREEN,
    NOISE,
    QUARTER_UV,
    color,
    sampled,
    scene_of,
    textured,
)

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
