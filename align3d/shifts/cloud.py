"""Cloud of one shape as it is shifted, and the steps that several shifts share."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Cloud:
    """Points of one shape, in random order: any leading part of them is a fair sample.

    Attributes:
        points: f32 ``[P, 3]`` about the unit sphere.
        colors: u8 ``[P, 3]``, RGB.
        part: i16 ``[P]`` part labels; -1 where a point has none.
        size_m: f32 ``[3]`` bounding box in meters along x, y, z.
    """

    points: Floats
    colors: NDArray[np.uint8]
    part: NDArray[np.int16]
    size_m: Floats

    def __len__(self) -> int:
        return len(self.points)

    def only(self, rows: Integers) -> Cloud:
        """The points at ``rows``, and as often again as it takes to have ``P`` of them; the size stays.

        They come in the order of ``rows``, so that a model that reads no more of them sees none twice.
        """
        filled = np.resize(rows, len(self))
        return replace(self, points=self.points[filled], colors=self.colors[filled], part=self.part[filled])

    def mixed_with(
        self, points: NDArray[np.floating], colors: NDArray[np.uint8], rng: np.random.Generator
    ) -> Cloud:
        """``P`` of these points and of added ones without a part, ``[n, 3]``, drawn from all of them."""
        chosen = rng.permutation(len(self) + len(points))[: len(self)]
        return replace(
            self,
            points=np.concatenate([self.points, points.astype(np.float32)])[chosen],
            colors=np.concatenate([self.colors, colors])[chosen],
            part=np.concatenate([self.part, np.full(len(points), -1, np.int16)])[chosen],
        )

    def remeasured(self, before: Cloud) -> Cloud:
        """The same points with the size that the change of their bounding box since ``before`` gives.

        Meters per unit are those of the longest side; a box that has not changed keeps its size exactly.
        """
        old = np.ptp(before.points, axis=0)
        meters = before.size_m.max() / max(float(old.max()), 1e-12)
        size = before.size_m + meters * (np.ptp(self.points, axis=0) - old)
        return replace(self, size_m=np.maximum(size, 0).astype(np.float32))

    def centered(self) -> Cloud:
        """The points in a frame of their own: mean subtracted, divided by the largest norm."""
        points = self.points - self.points.mean(axis=0)
        radius = float(np.linalg.norm(points, axis=1).max())
        return replace(self, points=(points / max(radius, 1e-12)).astype(np.float32))
