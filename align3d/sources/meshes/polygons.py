"""Triangles of polygons, convex or not, each cut in a plane of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from align3d.errors import RejectedItem
from align3d.sources.meshes.scene import Floats, Ints

MOST_CORNERS = 20_000
"""Corners of one polygon that is not convex; cutting a larger one could take minutes."""
_SLACK = 1e-9  # of a polygon's area: how far a triangle of a straight corner may turn the wrong way
_FULL_TURN = 2.0 * np.pi - 1e-6


@dataclass(frozen=True)
class Triangles:
    """Polygons cut into triangles.

    Attributes:
        corners: i64[F, 3], positions in the list of all polygons' corners, so that what corners carry
            (vertices, texture coordinates) can be looked up.
        polygon: i64[F], the polygon of each triangle.
        crossing: Number of polygons whose outline crosses itself; how such a one is filled is a guess.
    """

    corners: Ints
    polygon: Ints
    crossing: int

    @property
    def doubts(self) -> list[str]:
        """What a reader should say of polygons that cross themselves; nothing where none does."""
        if not self.crossing:
            return []
        which = (
            "1 polygon crosses itself" if self.crossing == 1 else f"{self.crossing} polygons cross themselves"
        )
        return [f"{which}: filled by a guess"]


def triangulate(points: Floats, sizes: Ints) -> Triangles:
    """Cut polygons so that no triangle leaves them.

    A fan about the first corner serves where none of its triangles is turned over, the other diagonal where
    it serves a quadrangle. Other polygons are cut by ear clipping in the plane of their mean normal (the sum
    of the fan's normals, which is Newell's).

    Args:
        points: f64[N, 3], the corners of all polygons, one after the other.
        sizes: i64[M], number of corners of each; less than three give no triangle.

    Raises:
        RejectedItem: A polygon that is not convex has more than `MOST_CORNERS` corners.
    """
    with np.errstate(all="ignore"):  # coordinates whose areas overflow are refused when they are sampled
        return _triangulate(points, sizes)


def _triangulate(points: Floats, sizes: Ints) -> Triangles:
    starts = np.cumsum(sizes) - sizes
    corners, polygon = _fans(starts, np.maximum(sizes - 2, 0))
    large = np.flatnonzero(sizes > 3)
    if not len(large) or not np.isfinite(points).all():
        return Triangles(corners, polygon, 0)
    leaves, normal = _leave_their_polygon(points, starts[large], sizes[large] - 2)
    doubtful, normal = large[leaves], normal[leaves]
    if not len(doubtful):
        return Triangles(corners, polygon, 0)
    if sizes[doubtful].max() > MOST_CORNERS:
        most = sizes[doubtful].max()
        raise RejectedItem(f"a polygon of {most:,} corners, expected at most {MOST_CORNERS:,}")
    mended, still = _other_diagonals(points, starts[doubtful], sizes[doubtful])
    clipped, crossing = _clip_ears(points, starts[doubtful[still]], sizes[doubtful[still]], normal[still])
    kept = ~np.isin(polygon, doubtful)
    owner = np.concatenate([polygon[kept], np.repeat(doubtful[~still], 2), doubtful[still][clipped.polygon]])
    corners = np.concatenate([corners[kept], mended, clipped.corners])
    order = np.argsort(owner, kind="stable")
    return Triangles(corners[order], owner[order], crossing)


def _fans(starts: Ints, count: Ints) -> tuple[Ints, Ints]:
    """Triangles (first, k, k + 1) of each polygon, and the polygon of each."""
    polygon = np.repeat(np.arange(len(starts)), count)
    first = starts[polygon]
    step = np.arange(len(polygon)) - np.repeat(np.cumsum(count) - count, count)
    return np.stack([first, first + step + 1, first + step + 2], axis=1).astype(np.int64), polygon


def _leave_their_polygon(points: Floats, starts: Ints, count: Ints) -> tuple[NDArray[np.bool_], Floats]:
    """Whether a fan of ``count`` triangles does not fill its polygon, bool[K]; mean normals f64[K, 3]."""
    fan, polygon = _fans(starts, count)
    first = np.cumsum(count) - count
    side_a = points[fan[:, 1]] - points[fan[:, 0]]
    side_b = points[fan[:, 2]] - points[fan[:, 0]]
    normals = np.cross(side_a, side_b)  # [T, 3], twice the area long
    normal = np.add.reduceat(normals, first)
    length = np.linalg.norm(normal, axis=1)
    area = np.add.reduceat(np.linalg.norm(normals, axis=1), first)
    unit = normal / np.where(length > 0.0, length, 1.0)[:, None]
    signed = np.einsum("tc,tc->t", normals, unit[polygon])
    turned = np.minimum.reduceat(signed, first) < -_SLACK * area
    # Triangles that all turn one way still overlap where they go around the first corner more than once.
    angle = np.add.reduceat(np.arctan2(signed, np.einsum("tc,tc->t", side_a, side_b)), first)
    return (turned | (length == 0.0) | (angle > _FULL_TURN)) & (area > 0.0), normal


def _other_diagonals(points: Floats, starts: Ints, sizes: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """Triangles i64[2 Q, 3] of quadrangles that the other diagonal cuts; which polygons are left, bool[K]."""
    left = np.ones(len(starts), dtype=bool)
    quads = np.flatnonzero(sizes == 4)
    corners = starts[quads][:, None] + np.array([[1, 2, 3, 0]])
    a, b, c, d = (points[corners[:, column]] for column in range(4))
    one, two = np.cross(b - a, c - a), np.cross(c - a, d - a)
    served = np.einsum("qc,qc->q", one, two) > 0.0
    left[quads[served]] = False
    return corners[served][:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3), left


def _clip_ears(points: Floats, starts: Ints, sizes: Ints, normal: Floats) -> tuple[Triangles, int]:
    """Cut each polygon in its plane; the outline of a polygon crosses itself where areas do not agree."""
    from mapbox_earcut import triangulate_float64

    polygon = np.repeat(np.arange(len(sizes)), sizes)
    corner = np.arange(len(polygon)) + np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)
    flat = _flatten(points[corner], polygon, sizes, normal)
    end = np.cumsum(sizes)
    cut = [
        triangulate_float64(flat[last - size : last], np.array([size], dtype=np.uint32))
        for last, size in zip(end.tolist(), sizes.tolist(), strict=True)
    ]
    count = np.array([len(indices) // 3 for indices in cut], dtype=np.int64)
    owner = np.repeat(np.arange(len(sizes)), count)
    triangles = np.concatenate([*cut, np.empty(0, dtype=np.uint32)]).astype(np.int64).reshape(-1, 3)
    triangles += (end - sizes)[owner][:, None]
    a, b, c = (flat[triangles[:, column]] for column in range(3))
    covered = np.bincount(owner, np.abs(_cross(b - a, c - a)), minlength=len(sizes))
    following = np.arange(len(polygon)) + 1
    following[end - 1] = end - sizes
    outline = np.abs(np.bincount(polygon, _cross(flat, flat[following]), minlength=len(sizes)))
    agree = np.isclose(covered, outline, rtol=1e-6, atol=_SLACK)
    return Triangles(corner[triangles], owner, 0), int((~agree).sum())


def _flatten(points: Floats, polygon: Ints, sizes: Ints, normal: Floats) -> Floats:
    """Corners in the planes of their polygons, each scaled to the unit box: f64[N, 2]."""
    first = np.cumsum(sizes) - sizes
    centered = points - (np.add.reduceat(points, first) / sizes[:, None])[polygon]
    scale = np.maximum.reduceat(np.abs(centered).max(axis=1), first)
    centered = centered / scale[polygon][:, None]
    length = np.linalg.norm(normal, axis=1)
    unit = normal / np.where(length > 0.0, length, 1.0)[:, None]
    for number in np.flatnonzero(length <= _SLACK * scale * scale):  # a symmetric bow-tie has no mean normal
        own = centered[first[number] : first[number] + sizes[number]]
        unit[number] = np.linalg.svd(own, full_matrices=True)[2][2]
    helper = np.eye(3)[np.argmin(np.abs(unit), axis=1)]
    across = np.cross(unit, helper)
    across /= np.linalg.norm(across, axis=1)[:, None]
    along = np.cross(unit, across)
    axes = np.stack([across, along], axis=2)[polygon]  # [N, 3, 2]
    return np.einsum("nc,ncd->nd", centered, axes)


def _cross(a: Floats, b: Floats) -> Floats:
    """Cross products of vectors in the plane: [N, 2] x [N, 2] -> [N]."""
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
