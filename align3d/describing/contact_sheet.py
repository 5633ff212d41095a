"""Contact sheet of a dataset: a dozen of its shapes in one picture, drawn from their points."""

from __future__ import annotations

import hashlib
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from align3d.dataset import ShapeDataset

MOST, COLUMNS = 12, 4
_CELL, _FINE = 220, 2
"""Pixels of a shape's square, and how many times finer it is drawn before it is made smaller."""
_TURN, _HEIGHT = np.deg2rad(-60.0), np.deg2rad(25.0)
"""Direction from which a shape is drawn: its front, which faces -y, from the right and from above."""
_PAPER, _INK = (243, 245, 247), (70, 78, 86)
_FAR, _RIM = 0.6, 0.72
"""Brightness that is left of the farthest point, and of the rim of a point: white shapes show on paper."""


def chosen_shapes(dataset: ShapeDataset, most: int = MOST) -> list[int]:
    """Indices of the shapes to show: by the hash of their content, of as many categories as can be."""
    ranked = sorted(range(len(dataset)), key=lambda row: _rank(dataset.content_hashes[row]))
    categories = dataset.categories
    first_of: dict[str, int] = {}
    for row in ranked:
        first_of.setdefault(categories[row], row)
    first = list(first_of.values())[:most]
    taken = set(first)
    return first + [row for row in ranked if row not in taken][: most - len(first)]


def _rank(content_hash: str) -> str:
    return hashlib.sha256(f"align3d-contact-sheet{content_hash}".encode()).hexdigest()


def contact_sheet(dataset: ShapeDataset, rows: list[int]) -> bytes:
    """PNG of shapes in rows of four, numbered from 1; it has no date and no name of a program in it."""
    across = min(COLUMNS, len(rows))
    sheet = Image.new("RGB", (across * _CELL, -(-len(rows) // across) * _CELL), _PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for place, row in enumerate(rows):
        left, top = place % across * _CELL, place // across * _CELL
        picture = draw_points(dataset.points([row])[0], dataset.colors([row])[0], dataset.up_axis, _CELL)
        sheet.paste(Image.fromarray(picture), (left, top))
        pen.text((left + 8, top + 6), str(place + 1), _INK, font)
    file = io.BytesIO()
    sheet.quantize(128, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return file.getvalue()


def draw_points(
    points: NDArray[np.float16], colors: NDArray[np.uint8], up_axis: str, size: int
) -> NDArray[np.uint8]:
    """One shape from one side, nearer points before farther ones: ``[size, size, 3]`` RGB.

    Args:
        points: ``[P, 3]`` in the unit sphere.
        colors: ``[P, 3]``.
        up_axis: Axis that points up in the picture.
        size: Of the picture in pixels.
    """
    up = "xyz".index(up_axis)
    x, y, z = (points[:, (up + 1 + axis) % 3].astype(np.float64) for axis in range(3))
    right = y * np.cos(_TURN) - x * np.sin(_TURN)
    ahead = x * np.cos(_TURN) + y * np.sin(_TURN)
    above = z * np.cos(_HEIGHT) - ahead * np.sin(_HEIGHT)
    near = ahead * np.cos(_HEIGHT) + z * np.sin(_HEIGHT)
    fine = size * _FINE
    middle = [(side.min() + side.max()) / 2 for side in (right, above)]
    scale = 0.84 * fine / max(float(np.ptp(right)), float(np.ptp(above)), 1e-6)
    columns = np.rint((right - middle[0]) * scale + fine / 2).astype(np.int64)
    lines = np.rint((middle[1] - above) * scale + fine / 2).astype(np.int64)
    radius = min(6, max(2, round(fine * 0.55 / np.sqrt(max(len(points), 1)))))
    step = np.arange(-radius, radius + 1)
    down, aside = (part.ravel() for part in np.meshgrid(step, step, indexing="ij"))
    away = np.hypot(down, aside)
    down, aside, away = (part[away <= radius] for part in (down, aside, away))
    depth = (near - near.min()) / max(float(np.ptp(near)), 1e-6)
    shade = (_FAR + (1 - _FAR) * depth)[:, None] * np.where(away > radius - 1, _RIM, 1.0)  # [P, K]
    shaded = np.rint(colors[:, None, :] * shade[:, :, None]).astype(np.uint8)  # [P, K, 3]
    order = np.argsort(near, kind="stable")  # of repeated indices, the last one is the nearest
    inside = [
        np.clip(start[order, None] + move, 0, fine - 1) for start, move in ((lines, down), (columns, aside))
    ]
    picture = np.empty((fine, fine, 3), np.uint8)
    picture[:] = _PAPER
    picture[inside[0].ravel(), inside[1].ravel()] = shaded[order].reshape(-1, 3)
    blocks = picture.reshape(size, _FINE, size, _FINE, 3).astype(np.uint32).sum(axis=(1, 3))
    return (blocks // _FINE**2).astype(np.uint8)
