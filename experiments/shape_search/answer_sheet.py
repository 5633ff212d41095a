"""Sheet of pictures of answers: each shape as a cloud of points in its colors, with its caption below."""

from __future__ import annotations

import importlib.util
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from experiments.evaluation.shape_views import VIEWS, project

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

PANEL, COLUMNS = 220, 5
LABEL_LINES, LINE, FONT_SIZE, CHARACTERS = 3, 15, 12, 34
MARGIN = 6
GRAY, BLACK = (120, 120, 120), (20, 20, 20)
_SHADE = 0.45
"""Share of its brightness that the farthest point loses."""


def answer_sheet(points: Floats, colors: Bytes, labels: Sequence[str], title: str = "") -> Image.Image:
    """Draws shapes in rows of five, numbered from 1.

    Args:
        points: ``[n, P, 3]`` in the unit sphere, z up; NaN where there is no shape to draw.
        colors: ``[n, P, 3]``.
        labels: Text below each.
        title: Text above all.
    """
    across = min(COLUMNS, max(1, len(labels)))
    down = -(-len(labels) // across)
    cell = PANEL + LABEL_LINES * LINE + MARGIN
    head = LINE + 2 * MARGIN if title else 0
    sheet = Image.new("RGB", (across * PANEL, head + max(1, down) * cell), "white")
    pen, font = ImageDraw.Draw(sheet), _font()
    if title:
        pen.text((MARGIN, MARGIN), textwrap.shorten(title, 36 * across, placeholder=" …"), BLACK, font)
    for place, label in enumerate(labels):
        left, top = place % across * PANEL, head + place // across * cell
        sheet.paste(Image.fromarray(shape_picture(points[place], colors[place], PANEL)), (left, top))
        pen.text((left + MARGIN, top + MARGIN), str(place + 1), GRAY, font)
        lines = textwrap.wrap(label, CHARACTERS, max_lines=LABEL_LINES, placeholder=" …")
        for number, line in enumerate(lines):
            pen.text((left + MARGIN, top + PANEL + number * LINE), line, BLACK, font)
    return sheet


def strip(points: Floats, colors: Bytes, size: int) -> Image.Image:
    """Draws shapes side by side in squares of ``size`` pixels, without words."""
    pictures = [shape_picture(own, colors[place], size) for place, own in enumerate(points)]
    return Image.fromarray(np.concatenate(pictures, axis=1))


def shape_picture(points: Floats, colors: Bytes, size: int) -> Bytes:
    """One shape from one side, nearer points before farther ones: ``[size, size, 3]`` RGB on white.

    Args:
        points: ``[P, 3]``, z up.
        colors: ``[P, 3]``.
        size: Of the picture in pixels.
    """
    picture = np.full((size, size, 3), 255, np.uint8)
    if not np.isfinite(points).all():
        return picture
    places, depth = (part.numpy() for part in project(torch.from_numpy(points), *VIEWS[0]))
    low, high = places.min(0), places.max(0)
    scale = 0.86 * size / max(float((high - low).max()), 1e-6)
    center = np.round((places - (low + high) / 2) * scale * [1, -1] + size / 2).astype(int)
    near = (depth - depth.min()) / max(float(np.ptp(depth)), 1e-6)
    shaded = colors * (1 - _SHADE * (1 - near[:, None]))
    dot = max(1, round(size / 55))
    step = np.arange(dot) - dot // 2
    spread = np.stack(np.meshgrid(step, step), -1).reshape(-1, 2)  # the pixels of a point
    pixels = np.clip(center[:, None] + spread, 0, size - 1).reshape(-1, 2)
    order = np.argsort(np.repeat(near, len(spread)), kind="stable")  # the nearest is written last
    column, row = pixels[order].T
    picture[row, column] = np.repeat(shaded, len(spread), axis=0)[order].astype(np.uint8)
    return picture


def _font() -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Matplotlib's font, which knows many scripts, without importing it; Pillow's own elsewhere."""
    found = importlib.util.find_spec("matplotlib")
    if found is not None and found.origin:
        path = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if path.is_file():
            return ImageFont.truetype(str(path), FONT_SIZE)
    return ImageFont.load_default(FONT_SIZE)
