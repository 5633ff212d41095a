"""Images of textures as RGB bytes, decoded within bounds of memory and of time."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, UnidentifiedImageError

from align3d.sources.meshes.scene import Bytes

LARGEST_SIDE = 8192
"""Pixels along a texture's longer side; a larger one is read shrunk."""
MOST_BYTES = 1 << 28
"""Memory that the pixels of an image may take while it is decoded; a larger JPEG is decoded small."""
MOST_JPEG_PIXELS = 1 << 28
"""Pixels of a JPEG, however small it is decoded: their number decides how long that takes."""
MOST_KEPT_BYTES = 3 << 27
"""Memory that the images of one file may take together; where there are many, each is read shrunk."""
MOST_FILE_PIXELS = 1 << 30
"""Pixels that are decoded for one file."""
KTX2_READER = "opengl_basisu"
"""Package that reads images of KTX2, where it is installed."""
_KTX2 = b"\xabKTX 20\xbb"
_BYTES_PER_PIXEL = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2}  # else 4, as Pillow has it
_BYTES_IN_JPEG2000 = 16  # per pixel, in OpenJPEG
_ROWS = 256  # of an image are converted at a time
_NOT_READ = frozenset({"EPS", "WMF", "FITS", "GRIB", "HDF5", "BUFR", "MPEG", "PDF"})
"""Formats of Pillow's that are no textures, or that it gives to other programs (EPS to Ghostscript)."""
_KINDS = ((_KTX2, "KTX2"), (b"\xabKTX 11\xbb", "KTX"), (b"DDS ", "DDS of an unknown kind"))


class UnreadableImage(Exception):
    """An image that cannot be had. The message says why, in a few words."""


class FileImages:
    """Decoder of the images of one file, which share bounds of memory and of time.

    Args:
        count: Number of images that the file holds.
    """

    def __init__(self, count: int) -> None:
        self._share = MOST_KEPT_BYTES // max(count, 1)
        self._left = MOST_FILE_PIXELS

    def decode(self, data: bytes) -> Bytes:
        """Decode one image, see `decode_image`.

        Raises:
            UnreadableImage: As `decode_image`, or the file's images have too many pixels together.
        """
        if data.startswith(_KTX2):
            found = decode_image(data, self._side())
            self._count(found.shape[1], found.shape[0])
            return found
        with _opened(data) as image:
            _bound(image, LARGEST_SIDE, MOST_BYTES)
            self._count(*image.size)
            return pixels(image, most_kept=self._share)

    def _count(self, width: int, height: int) -> None:
        self._left -= width * height
        if self._left < 0:
            raise UnreadableImage(
                f"an image of {width} x {height} pixels in a file whose images have more than "
                f"{MOST_FILE_PIXELS:,} pixels together"
            )

    def _side(self) -> int:
        """Longer side of a square image that is within its share."""
        return min(LARGEST_SIDE, max(1, math.isqrt(self._share // 3)))


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
    if data.startswith(_KTX2):
        return _basis(data, largest_side)
    with _opened(data) as image:
        return pixels(image, largest_side, most_bytes)


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    """The image, not decoded. Pillow's limit on pixels is replaced by ours, its warnings by reasons.

    Raises:
        UnreadableImage: Whatever Pillow raises, here or within.
    """
    if not data:
        raise UnreadableImage("an empty image")
    with without_pillows_limit():
        try:
            Image.init()
            yield Image.open(io.BytesIO(data), formats=[kind for kind in Image.ID if kind not in _NOT_READ])
        except UnreadableImage:
            raise
        except UnidentifiedImageError as error:
            kinds = [name for magic, name in _KINDS if data.startswith(magic)]
            what = f"a {kinds[0]} image, which is not read" if kinds else "not an image of a known format"
            raise UnreadableImage(what) from error
        except Exception as error:  # Pillow raises whatever a broken image makes its code stumble over
            raise UnreadableImage(f"a damaged image: {' '.join(str(error).split())[:120]}") from error


@contextmanager
def without_pillows_limit() -> Iterator[None]:
    """Let Pillow open images of any size, which costs nothing, and keep its warnings from the terminal."""
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def pixels(
    image: Image.Image,
    largest_side: int = LARGEST_SIDE,
    most_bytes: int = MOST_BYTES,
    most_kept: int = MOST_KEPT_BYTES,
) -> Bytes:
    """RGB of an image that may not have been decoded yet, see `decode_image`.

    Args:
        image: The image.
        largest_side: Most pixels on a side.
        most_bytes: Most memory that the decoder's pixels may take.
        most_kept: Most bytes that are returned; a larger image comes out shrunk by a whole factor.

    Raises:
        UnreadableImage: The image is cut, damaged or too large.
    """
    try:
        with without_pillows_limit():
            return _pixels(image, largest_side, most_bytes, most_kept)
    except UnreadableImage:
        raise
    except Exception as error:
        raise UnreadableImage(f"a damaged image: {' '.join(str(error).split())[:120]}") from error


def _pixels(image: Image.Image, largest_side: int, most_bytes: int, most_kept: int) -> Bytes:
    _bound(image, largest_side, most_bytes)
    width, height = image.size
    by_bytes = math.sqrt(3.0 * width * height / max(most_kept, 3))
    return _rgb(image, max(-(-max(width, height) // largest_side), math.ceil(by_bytes)))


def _bound(image: Image.Image, largest_side: int, most_bytes: int) -> None:
    """Refuse an image that takes too much memory or time to decode; let a large JPEG be decoded small."""
    width, height = image.size
    is_refused = False
    if image.format == "JPEG":
        is_refused = width * height > MOST_JPEG_PIXELS
        if _is_in_scans(image):  # libjpeg keeps two bytes for each value of the whole image
            is_refused |= width * height * len(image.getbands()) > most_bytes
        if max(width, height) > largest_side:
            image.draft(image.mode, (largest_side // 2, largest_side // 2))
    per_pixel = _BYTES_IN_JPEG2000 if image.format == "JPEG2000" else _BYTES_PER_PIXEL.get(image.mode, 4)
    if is_refused or image.size[0] * image.size[1] * per_pixel > most_bytes:
        raise UnreadableImage(
            f"an image of {width} x {height} pixels, more than {most_bytes >> 20} MiB when it is decoded"
        )


def _is_in_scans(image: Image.Image) -> bool:
    """Whether a JPEG may come in several scans, which are all kept until the last has come."""
    file = getattr(image, "fp", None)
    if image.info.get("progressive") or not isinstance(file, io.BytesIO):
        return True
    return file.getvalue().count(b"\xff\xda") > 1


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


def _rgb(image: Image.Image, factor: int) -> Bytes:
    """RGB of 8 bits, shrunk by a whole factor, u8[H, W, 3]; some rows at a time, which saves copies."""
    image.load()
    width, height = image.size
    if min(width, height) < 1:
        raise UnreadableImage(f"an image of {width} x {height} pixels")
    white = _white(image)
    out = np.empty((-(-height // factor), -(-width // factor), 3), np.uint8)
    rows = max(_ROWS // factor, 1)
    for top in range(0, len(out), rows):
        band = image.crop((0, top * factor, width, min((top + rows) * factor, height)))
        if factor > 1:
            band = _deep(band).reduce(factor)
        out[top : top + rows] = _bytes(band, white)
    return out


def _deep(image: Image.Image) -> Image.Image:
    """The image in a mode whose pixels can be averaged, without alpha, which would weigh them."""
    if image.mode.startswith("I;16"):
        return image.convert("I")
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("L", "I", "F", "RGB") else image.convert("RGB")


def _white(image: Image.Image) -> float:
    """The value of white in an image of one deep channel; of floats, 1 where none is brighter."""
    if image.mode != "F":
        return 65535.0
    _, brightest = image.getextrema()
    return 1.0 if not float(brightest) > 1.0 else 255.0  # type: ignore[arg-type]


def _bytes(image: Image.Image, white: float) -> Bytes:
    """RGB of 8 bits, u8[H, W, 3]."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        with np.errstate(all="ignore"):
            values = np.nan_to_num(np.asarray(image).astype(np.float64) * (255.0 / white))
        gray = np.round(np.clip(values, 0.0, 255.0)).astype(np.uint8)
        return np.repeat(gray[:, :, None], 3, axis=2)
    return np.asarray(image.convert("RGB"))
