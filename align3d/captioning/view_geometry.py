"""Cameras around a shape: four sides and above, then more, each fitted to what it sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_AZIMUTHS = (30.0, 120.0, 210.0, 300.0)
DIRECTIONS = (
    *((azimuth, 20.0) for azimuth in _AZIMUTHS),
    (30.0, 75.0),
    (30.0, -75.0),
    *((azimuth + 45.0, 20.0) for azimuth in _AZIMUTHS),
    *((22.5 + 45.0 * place, 50.0) for place in range(8)),
    *((22.5 + 45.0 * place, -30.0) for place in range(8)),
)
"""Azimuth and elevation in degrees of each view: sides, above, below, between the sides, higher, lower."""
DISTANCE = 3.8
"""Distance of a camera from the middle in radii."""
_MARGIN = 1.06


@dataclass(frozen=True)
class Camera:
    """A pinhole camera at a distance of `DISTANCE` from the origin that looks at it, z up.

    Attributes:
        right: f64[3].
        up: f64[3].
        back: f64[3], from the origin to the camera.
        middle: f64[2], middle of the picture in the plane at distance 1.
        half: Half of the picture's width and height there.
    """

    right: NDArray[np.float64]
    up: NDArray[np.float64]
    back: NDArray[np.float64]
    middle: NDArray[np.float64]
    half: float

    @property
    def eye(self) -> NDArray[np.float64]:
        """Place of the camera, f64[3]."""
        return self.back * DISTANCE

    def project(self, points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Places in the picture in -1..1, f64[N, 2], and depths f64[N], of points f64[N, 3]."""
        plane, depth = _project(points, self.right, self.up, self.back)
        return (plane - self.middle) / self.half, depth

    def rays(self, size: int) -> NDArray[np.float32]:
        """Directions f32[size, size, 3] of the rays through the pixels' middles, the upper row first."""
        ticks = ((np.arange(size) + 0.5) / size * 2.0 - 1.0) * self.half
        across = self.middle[0] + ticks
        upward = self.middle[1] - ticks
        rays = across[None, :, None] * self.right + upward[:, None, None] * self.up - self.back
        return (rays / np.linalg.norm(rays, axis=-1, keepdims=True)).astype(np.float32)


def centered(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Middle f64[3] of the bounding box of points f64[N, 3], and the largest distance from it (not 0)."""
    middle = (points.min(axis=0) + points.max(axis=0)) / 2.0
    return middle, float(np.linalg.norm(points - middle, axis=1).max()) or 1.0


def cameras(points: NDArray[np.float64], count: int) -> list[Camera]:
    """The first ``count`` of the cameras, fitted to points f64[N, 3] in the unit sphere."""
    found = []
    for azimuth, elevation in np.radians(DIRECTIONS[:count]):
        back = np.array(
            [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
        )
        right = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
        up = np.cross(back, right)
        plane, _ = _project(points, right, up, back)
        low, high = plane.min(axis=0), plane.max(axis=0)
        half = max(float((high - low).max()) / 2.0, 1e-3) * _MARGIN
        found.append(Camera(right, up, back, (low + high) / 2.0, half))
    return found


def _project(
    points: NDArray[np.float64],
    right: NDArray[np.float64],
    up: NDArray[np.float64],
    back: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    depth = DISTANCE - points @ back
    return np.stack([points @ right, points @ up], axis=1) / depth[:, None], depth
