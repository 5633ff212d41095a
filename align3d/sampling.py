"""Sampling of point clouds from triangles by area, and the field's normalization."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from align3d.errors import RejectedItem

Floats = NDArray[np.float64]


def sample_surface(
    triangles: Floats, count: int, rng: np.random.Generator
) -> tuple[Floats, NDArray[np.int64], Floats]:
    """Points spread evenly over a surface: every bit of area is equally likely.

    The draws are stratified over the surface's total area (one draw in each of ``count`` equal slices), so
    that a small part gets its share rather than its share give or take its square root.

    Args:
        triangles: f64[F, 3, 3], corners of each triangle; degenerate ones are allowed and never drawn.
        count: Number of points P.
        rng: The item's own generator.

    Returns:
        Points f64[P, 3], the triangle of each point i64[P], barycentric weights f64[P, 3] (for colors,
        texture coordinates and the like: ``attribute[face] * weights``).

    Raises:
        RejectedItem: No triangle, NaN or infinite corners, or no area at all.
    """
    if not len(triangles):
        raise RejectedItem("mesh without faces")
    if not np.isfinite(triangles).all():
        raise RejectedItem("NaN or infinite vertices")
    edge_a = triangles[:, 1] - triangles[:, 0]  # [F, 3]
    edge_b = triangles[:, 2] - triangles[:, 0]  # [F, 3]
    cumulative = np.cumsum(np.linalg.norm(np.cross(edge_a, edge_b), axis=1))  # [F], twice the area
    total = float(cumulative[-1])
    extent = float(np.ptp(triangles.reshape(-1, 3), axis=0).max())
    if not np.isfinite(total):
        raise RejectedItem(f"coordinates up to {np.abs(triangles).max():.3g} m overflow")
    if total <= 1e-12 * extent * extent:
        raise RejectedItem("surface of zero area")
    draws = (np.arange(count) + rng.random(count)) * (total / count)  # [P], sorted
    face = np.minimum(np.searchsorted(cumulative, draws, side="right"), len(triangles) - 1)  # [P]
    uv = rng.random((count, 2))
    # Points of the unit square beyond its diagonal are folded back into the triangle.
    beyond = uv.sum(axis=1) > 1.0
    uv[beyond] = 1.0 - uv[beyond]
    points = triangles[face, 0] + uv[:, :1] * edge_a[face] + uv[:, 1:] * edge_b[face]
    weights = np.column_stack([1.0 - uv.sum(axis=1), uv])  # [P, 3]
    order = rng.permutation(count)  # so that any leading part of a cloud is itself a fair sample
    return points[order], face[order], weights[order]


def resample_cloud(available: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Choose ``count`` of ``available`` points: without repeats where there are enough, else evenly repeated.

    Returns:
        i64[P] indices, in random order.

    Raises:
        RejectedItem: There is no point to choose.
    """
    if available < 1:
        raise RejectedItem("point cloud without points")
    repeats, rest = divmod(count, available)
    whole = np.tile(np.arange(available), repeats)
    extra = rng.choice(available, size=rest, replace=False)
    return rng.permutation(np.concatenate([whole, extra]))


def normalize(points: Floats) -> NDArray[np.float16]:
    """Subtract the mean and divide by the largest norm.

    Args:
        points: f64[P, 3] in any unit.

    Returns:
        f16[P, 3] in the unit sphere.

    Raises:
        RejectedItem: All points coincide, or are not finite.
    """
    if not np.isfinite(points).all():
        raise RejectedItem("NaN or infinite points")
    with np.errstate(all="ignore"):  # an overflow is refused below
        centered = points - points.mean(axis=0)
        radius = float(np.linalg.norm(centered, axis=1).max())
    if not np.isfinite(radius):
        raise RejectedItem(f"coordinates up to {np.abs(points).max():.3g} overflow")
    if radius <= 1e-12:
        raise RejectedItem("all points coincide")
    return (centered / radius).astype(np.float16)


def extent_m(vertices: Floats) -> NDArray[np.float32]:
    """Size of the bounding box along x, y, z, in the vertices' unit (meters): f64[N, 3] -> f32[3]."""
    with np.errstate(all="ignore"):  # an infinite extent breaks the contract of records
        return np.ptp(vertices, axis=0).astype(np.float32)


def rotate_up(points: Floats, up_axis: str) -> Floats:
    """Turn points [..., 3] whose up axis is ``up_axis`` so that z is up; right-handed, no mirror image.

    Raises:
        KeyError: ``up_axis`` is none of x, y, z.
    """
    # The columns of each matrix say where the old x, y and z axes go; all have determinant +1.
    turn = {
        "x": np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]),
        "y": np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]),
        "z": np.eye(3),
    }[up_axis]
    return points @ turn.T
