"""A source of shapes in one file: colored spheroids."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from align3d import Item, Record
from align3d.hashing import hash_json, item_generator
from align3d.sources import register

COLORS = {"red": (200, 30, 30), "green": (30, 160, 60), "blue": (40, 60, 200)}


@register("spheres")
class Spheres:
    """Spheroids of three colors and many heights.

    Args:
        size: Number of spheroids.
    """

    name: ClassVar[str] = "spheres"

    def __init__(self, size: int = 100) -> None:
        self.size = size

    def fingerprint(self) -> str:
        """Return a hash that changes with everything that determines the records."""
        return hash_json(["spheres", 1, self.size])

    def items(self) -> list[Item]:
        """List one item per spheroid: its color, and its height in tenths of its width."""
        colors = sorted(COLORS)
        return [Item(f"{i:04d}", (colors[i % 3], 1 + i // 3)) for i in range(self.size)]

    def read(self, item: Item, points: int, seed: int) -> Record:
        """Draw points on the surface."""
        color, tenths = item.payload
        rng = item_generator(seed, item.id)
        xyz = rng.normal(size=(points, 3))
        xyz *= np.array([1, 1, tenths / 10]) / np.linalg.norm(xyz, axis=1, keepdims=True)
        xyz -= xyz.mean(0)
        size_m = np.ptp(xyz, axis=0).astype(np.float32)
        return Record(
            id=item.id,
            source=self.name,
            category="spheroid",
            captions=(f"a {color} spheroid {tenths / 10} times as high as wide", f"a {color} spheroid"),
            points=(xyz / np.linalg.norm(xyz, axis=1).max()).astype(np.float16),
            colors=np.tile(np.array(COLORS[color], np.uint8), (points, 1)),
            part=np.zeros(points, np.int16),
            part_names=("surface",),
            size_m=size_m,
            up_axis="z",
            license="CC0-1.0",
            content_hash=hash_json([color, tenths]),
        )
