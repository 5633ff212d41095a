"""Images of textures: a bounded size, every depth, and a reason where there is no image."""

from __future__ import annotations

import base64
import io
import zlib

import numpy as np
import pytest
from PIL import Image

from align3d.sources.meshes.texture_images import UnreadableImage, decode_image
from tests.align3d.sources.meshes.glb_writer import png

HALVES = np.zeros((64, 48, 3), np.uint8)
HALVES[:32], HALVES[32:] = (200, 0, 0), (0, 160, 0)

# 8 x 8 pixels, the upper half (200, 0, 0) and the lower (0, 160, 0), in UASTC.
KTX2 = zlib.decompress(
    base64.b64decode(
        "eNpb7R0SoWBksJuXS4qLAQgYgZgDimGAEYpBIAOIdYB4CpRGBwegtAMaDVPLxKDBsIyRiYGZmYFBAK6rHs76DwTyQBrorPKizJLU"
        "IganxOLMYoXQvMyy1KLixBwFIz1DAwYGFpAuoDZxSYYH/z8j7MfgM4g8qGcSwckHAP8dH/c="
    )
)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "BMP"])
def test_a_large_image_comes_out_shrunk(format: str) -> None:
    found = decode_image(png(HALVES, format), largest_side=16)
    assert max(found.shape[:2]) <= 16
    assert np.abs(found[0, 0].astype(int) - HALVES[0, 0]).max() <= 8
    assert np.abs(found[-1, -1].astype(int) - HALVES[-1, -1]).max() <= 8
    assert decode_image(png(HALVES, format), largest_side=64).shape == HALVES.shape


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(np.full((64, 64), 40000, np.uint16)),
        Image.fromarray(np.full((64, 64), 156, np.uint8)),
        Image.fromarray(np.tile(np.array([156, 0], np.uint8), (64, 64, 1))),
        Image.fromarray(np.full((64, 64, 3), 156, np.uint8)).quantize(),
    ],
)
def test_every_mode_can_be_shrunk(image: Image.Image) -> None:
    assert (decode_image(png(image), largest_side=16) == 156).all()
    assert (decode_image(png(Image.new("1", (64, 64), 1)), largest_side=16) == 255).all()


def test_what_takes_too_much_memory_is_refused_and_a_jpeg_read_small() -> None:
    memory = 64 * 48 * 4 - 1
    with pytest.raises(
        UnreadableImage, match="an image of 48 x 64 pixels, more than 0 MiB when it is decoded"
    ):
        decode_image(png(HALVES), most_bytes=memory)
    assert decode_image(png(HALVES, "JPEG"), largest_side=32, most_bytes=memory).shape == (32, 24, 3)


def test_more_pixels_than_pillow_takes_by_itself() -> None:
    data = png(Image.new("1", (14000, 14000), 1))
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(data))
    found = decode_image(data)
    assert found.shape == (7000, 7000, 3)
    assert (found[::500, ::500] == 255).all()


def test_basis_universal_is_transcoded_where_its_reader_is_installed() -> None:
    pytest.importorskip("opengl_basisu")
    found = decode_image(KTX2)
    assert found.shape == (8, 8, 3)
    assert (found[0, 0].tolist(), found[7, 0].tolist()) == ([200, 0, 0], [0, 160, 0])
    for damaged in (KTX2[:100], KTX2[:12] + bytes(200)):
        with pytest.raises(UnreadableImage, match="a damaged or unknown KTX2 image"):
            decode_image(damaged)
    with pytest.raises(UnreadableImage, match="8 x 8 pixels, too large"):
        decode_image(KTX2, largest_side=4)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "an empty image"),
        (b"<svg></svg>", "not an image of a known format"),
        (b"\xabKTX 11\xbb" + bytes(100), "a KTX image, which is not read"),
        (png(HALVES)[:60], "a damaged image"),
    ],
)
def test_reasons(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImage, match=reason):
        decode_image(data)
