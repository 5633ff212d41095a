"""Coefficients of a point cloud in cylindrical waves about its up axis, by which duplicates are looked for.

A cloud is centered and scaled to a root mean square radius of 1, which neither scale nor the choice of points
changes much. Its coefficient ``[k, l, m]`` is the mean over the points of ``cos(pi k h) cos(pi l r)
exp(-i m phi)``, with height ``h`` and radius ``r`` of a point brought to 0..1 and its angle ``phi``. A turn
by ``t`` multiplies it by ``exp(-i m t)``: those of ``m = 0`` stay as they are and are what a tree of shapes
is searched by, and the turn that fits two shapes best is the peak of a Fourier transform.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

HEIGHTS, RADII, TURNS = 6, 4, 12
"""Waves along the height and the radius, and the fastest about the axis."""
REACH = 2.5
"""Root mean square radii to which heights and radii are told apart; what lies beyond counts as there."""
ANGLES = 256
"""Turns that are tried, evenly over the circle."""


class Standing(NamedTuple):
    """Clouds in the frame in which they are compared.

    Attributes:
        points: Centered, of root mean square radius 1, f32[n, P, 3].
        radius: That radius before, f32[n]; 0 where all points coincide.
    """

    points: NDArray[np.float32]
    radius: NDArray[np.float32]


def stand(points: Floats) -> Standing:
    """Center clouds [n, P, 3] whose up axis is z, and scale them."""
    points = points.astype(np.float32)
    points -= points.mean(axis=1, keepdims=True)
    radius = np.sqrt(np.mean(np.sum(points * points, axis=2), axis=1))
    points /= np.maximum(radius, 1e-9)[:, None, None]
    return Standing(points, radius)


def coefficients(points: NDArray[np.float32]) -> NDArray[np.complex64]:
    """Coefficients of standing clouds: [n, P, 3] -> c64[n, HEIGHTS * RADII, TURNS + 1]."""
    x, y = points[..., 0], points[..., 1]  # [n, P]
    radius, waves = np.hypot(x, y), _waves(points)
    unit = (x - 1j * y) / np.maximum(radius, 1e-6)  # exp(-i phi)
    turns = np.empty((*radius.shape, TURNS + 1), dtype=np.complex64)
    turns[..., 0] = 1
    turns[..., 1] = unit * (radius / (radius + 0.3))  # a point on the axis has no angle
    for m in range(2, TURNS + 1):
        turns[..., m] = turns[..., m - 1] * unit
    real, imaginary = waves @ turns.real, waves @ turns.imag
    return ((real + 1j * imaginary) / points.shape[1]).astype(np.complex64)


def tints(points: NDArray[np.float32], colors: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Colors by height and radius, which no turn changes: means of each channel in 0..1 times each wave.

    Args:
        points: Of standing clouds, [n, P, 3].
        colors: u8[n, P, 3].

    Returns:
        f32[n, 3 HEIGHTS RADII].
    """
    means = _waves(points) @ (colors / np.float32(255)) / points.shape[1]
    return means.reshape(len(points), -1).astype(np.float32)


def _waves(points: NDArray[np.float32]) -> Floats:
    """Waves along height and radius at each point: [n, P, 3] -> [n, HEIGHTS * RADII, P]."""
    height = np.clip(0.5 + points[..., 2] / (2 * REACH), 0, 1)
    radius = np.minimum(np.hypot(points[..., 0], points[..., 1]) / REACH, 1)
    both = _cosines(height, HEIGHTS)[:, :, None] * _cosines(radius, RADII)[:, None]
    return both.reshape(len(points), -1, points.shape[1])


def invariants(found: NDArray[np.complex64]) -> NDArray[np.float32]:
    """What no turn changes of coefficients: [n, K, M] -> f32[n, K - 1]; the first is 1 for every shape."""
    return np.ascontiguousarray(found[:, 1:, 0].real)


def differences(one: NDArray[np.complex64], others: NDArray[np.complex64]) -> NDArray[np.float32]:
    """Distance of a shape to others at each turn of these: [K, M], [n, K, M] -> f32[n, ANGLES].

    Column ``a`` is that of the others turned by ``2 pi a / ANGLES`` about the up axis, counterclockwise.
    """
    cross = np.einsum("km,nkm->nm", one, others.conj())
    # Every m but 0 stands for -m as well, here and in the squares.
    spectrum = np.zeros((len(others), ANGLES // 2 + 1), dtype=np.complex64)
    spectrum[:, : cross.shape[1]] = cross
    weights = np.where(np.arange(one.shape[1]) > 0, 2.0, 1.0)
    squares = np.einsum("m,nkm->n", weights, np.abs(others) ** 2)
    square = np.einsum("m,km->", weights, np.abs(one) ** 2)
    fit = np.fft.irfft(spectrum, ANGLES) * ANGLES
    return np.sqrt(np.maximum(square + squares[:, None] - 2 * fit, 0)).astype(np.float32)


def _cosines(values: Floats, count: int) -> Floats:
    """``cos(pi k v)`` for k < count: [n, P] -> [n, count, P]."""
    first = np.cos(np.pi * values)
    found = np.empty((len(values), count, values.shape[1]), dtype=np.float32)
    found[:, 0], found[:, 1] = 1, first
    for k in range(2, count):
        found[:, k] = 2 * first * found[:, k - 1] - found[:, k - 2]
    return found
