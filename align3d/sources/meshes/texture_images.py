"""Images of textures as RGB bytes, read at a bounded size."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image, UnidentifiedImageError

from align3d.sources.meshes.scene import Bytes

LARGEST_SIDE = 8192
"""Pixels along a texture's longer side; a larger one is read shrunk."""
MOST_BYTES = 1 << 30
"""Memory that decoding an image may take before it is shrunk."""
KTX2_READER = "opengl_basisu"
"""Package that reads images of KTX2, where it is installed."""
_KTX2 = b"\xabKTX 20\xbb"
_BYTES_PER_PIXEL = {
    "1": 1,
    "L": 1,
    "P": 1,
    "I;16": 2,
    "I;16B": 2,
    "LA": 4,
    "PA": 4,
}  # else 4, as Pillow has it
_PILLOW_ERRORS = (OSError, ValueError, SyntaxError, LookupError, struct.error, zlib.error, MemoryError)
_KINDS = ((_KTX2, "KTX2"), (b"\xabKTX 11\xbb", "KTX"), (b"DDS ", "DDS of an unknown kind"))


class UnreadableImage(Exception):
    """An image that cannot be had. The message says why, in a few words."""


def decode_image(data: bytes, largest_side: int = LARGEST_SIDE, most_bytes: int = MOST_BYTES) -> Bytes:
    """Decode an image of any format that Pillow reads, or of KTX2 where ``opengl-basisu`` is installed.

    Gray of 16 bits is scaled to 8, alpha is left out.

    Args:
        data: The image file's bytes.
        largest_side: Most pixels on a side; a larger image comes out shrunk by a whole factor.
        most_bytes: Most memory that decoding may take; a JPEG is decoded small, others are refused.

    Returns:
        u8[H, W, 3].

    Raises:
        UnreadableImage: The bytes are cut, damaged, of an unknown format, or the image too large.
    """
    if not data:
        raise UnreadableImage("an empty image")
    if data.startswith(_KTX2):
        return _basis(data, largest_side)
    try:
        image = _open(data)
    except UnidentifiedImageError as error:
        kinds = [name for magic, name in _KINDS if data.startswith(magic)]
        what = f"a {kinds[0]} image, which is not read" if kinds else "not an image of a known format"
        raise UnreadableImage(what) from error
    except _PILLOW_ERRORS as error:
        raise UnreadableImage(f"a damaged image: {' '.join(str(error).split())[:120]}") from error
    return pixels(image, largest_side, most_bytes)


def pixels(image: Image.Image, largest_side: int = LARGEST_SIDE, most_bytes: int = MOST_BYTES) -> Bytes:
    """RGB of an image that may not have been decoded yet, see `decode_image`.

    Raises:
        UnreadableImage: The image is cut, damaged or too large.
    """
    width, height = image.size
    try:
        if image.format == "JPEG" and max(width, height) > largest_side:
            image.draft(image.mode, (largest_side // 2, largest_side // 2))
        if image.size[0] * image.size[1] * _BYTES_PER_PIXEL.get(image.mode, 4) > most_bytes:
            raise UnreadableImage(
                f"an image of {width} x {height} pixels, more than {most_bytes >> 20} MiB when it is decoded"
            )
        factor = -(-max(image.size) // largest_side)
        if factor > 1:
            image = _deep(image).reduce(factor)
        return _rgb(image)
    except _PILLOW_ERRORS as error:
        raise UnreadableImage(f"a damaged image: {' '.join(str(error).split())[:120]}") from error


def _basis(data: bytes, largest_side: int) -> Bytes:
    """RGB of a KTX2 image of Basis Universal, as glTF's ``KHR_texture_basisu`` has them: u8[H, W, 3]."""
    try:
        import opengl_basisu
    except ImportError as error:
        raise UnreadableImage("a KTX2 image; install opengl-basisu to read it") from error
    try:
        texture = opengl_basisu.open(data)
        sides = [max(texture.width, texture.height) >> level for level in range(texture.levels)]
        level = next((level for level, side in enumerate(sides) if side <= largest_side), None)
        if level is None:
            raise UnreadableImage(f"a KTX2 image of {texture.width} x {texture.height} pixels, too large")
        return np.ascontiguousarray(texture.transcode("rgba8", level=level).data[:, :, :3])
    except (ValueError, LookupError, MemoryError) as error:
        raise UnreadableImage(f"a damaged or unknown KTX2 image: {error}") from error


def _deep(image: Image.Image) -> Image.Image:
    """The image in a mode whose pixels can be averaged, without alpha, which would weigh them."""
    if image.mode.startswith("I;16"):
        return image.convert("I")
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("L", "I", "F", "RGB") else image.convert("RGB")


def _open(data: bytes) -> Image.Image:
    """The image, not decoded; Pillow's limit on pixels is replaced by that of `decode_image`."""
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        return Image.open(io.BytesIO(data))
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _rgb(image: Image.Image) -> Bytes:
    """RGB of 8 bits, u8[H, W, 3]."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.float64)
        white = 65535.0 if image.mode != "F" else 1.0 if values.max(initial=0.0) <= 1.0 else 255.0
        gray = np.round(np.clip(np.nan_to_num(values * (255.0 / white)), 0.0, 255.0)).astype(np.uint8)
        return np.repeat(gray[:, :, None], 3, axis=2)
    return np.asarray(image.convert("RGB"))
