"""Analytic surfaces with exact areas, sampled uniformly by area without building a mesh.

Five primitives cover everything: flat facets (boxes, prisms), surfaces of revolution (discs, cylinders,
cones, tubes, cups, bottles), ellipsoids, tori and tubes swept along a path. Lengths are meters, z is up, and
everything that stands (box, prism, cylinder, ...) stands on the plane z = 0 around the z axis.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def strata(weights: Floats, count: int, rng: np.random.Generator) -> Ints:
    """Choose ``count`` indices, index i as often as its weight asks, to within one (systematic sampling).

    Args:
        weights: f64[N], not negative, not all zero.
        count: Number of indices.
        rng: One uniform number is taken from it.

    Returns:
        i64[count], ascending.
    """
    edges = np.cumsum(weights)
    ticks = (np.arange(count) + rng.random()) * (edges[-1] / max(count, 1))
    return np.minimum(np.searchsorted(edges, ticks, side="right"), len(weights) - 1)


def _along_taper(uniform: Floats, start: Floats, end: Floats) -> Floats:
    """Position in [0, 1] with density linear from ``start`` to ``end``, by inversion."""
    root = np.sqrt(start**2 + uniform * (end**2 - start**2))
    return uniform * (start + end) / np.maximum(start + root, 1e-30)


def _bent_angle(
    strength: Floats | float, toward: Floats | float, count: int, rng: np.random.Generator
) -> Floats:
    """Angles with density (1 + strength * cos(angle - toward)) / 2 pi, exactly and without rejection.

    A uniform angle is kept with probability (1 + strength * cos) / 2 and turned by half a circle otherwise.
    """
    angle = rng.random(count) * 2 * np.pi
    turned = rng.random(count) * 2 > 1 + strength * np.cos(angle)
    return angle + np.pi * turned + toward


class Primitive(ABC):
    """A surface that knows its area, samples itself uniformly and bounds itself."""

    area: float

    @abstractmethod
    def sample(self, count: int, rng: np.random.Generator) -> Floats:
        """Draw points uniformly by area: f64[count, 3] in meters."""

    @abstractmethod
    def support(self, directions: Floats) -> Floats:
        """Largest projection of the surface on each direction: f64[M, 3] -> f64[M], in meters."""


class Facets(Primitive):
    """A soup of triangles.

    Args:
        triangles: f64[N, 3 corners, 3].
    """

    def __init__(self, triangles: ArrayLike) -> None:
        corners = np.asarray(triangles, dtype=np.float64)  # [N, 3, 3]
        self.origin = corners[:, 0]
        self.edges = corners[:, 1:] - corners[:, :1]  # [N, 2, 3]
        self.areas = np.linalg.norm(_cross(self.edges[:, 0], self.edges[:, 1]), axis=1) / 2
        self.area = float(self.areas.sum())
        self.vertices = corners.reshape(-1, 3)

    def sample(self, count: int, rng: np.random.Generator) -> Floats:
        """Draw points uniformly by area: f64[count, 3]."""
        which = strata(self.areas, count, rng)
        weights = rng.random((count, 2))
        folded = weights.sum(1) > 1  # the far half of the parallelogram folds back on the triangle
        weights[folded] = 1 - weights[folded]
        edges = self.edges[which]
        return self.origin[which] + weights[:, :1] * edges[:, 0] + weights[:, 1:] * edges[:, 1]

    def support(self, directions: Floats) -> Floats:
        """Largest projection on each direction: f64[M]."""
        return (directions @ self.vertices.T).max(1)


class Lathe(Primitive):
    """A polyline in the (radius, height) half plane, turned around the z axis.

    Args:
        profile: f64[N + 1, 2] of (radius, z); each of its N segments makes a cone frustum, a disc or an
        annulus.
    """

    def __init__(self, profile: ArrayLike) -> None:
        self.profile = np.asarray(profile, dtype=np.float64)
        radius = self.profile[:, 0]
        if (radius < 0).any():
            raise ValueError(f"profile has a negative radius {radius.min():g}; radii must be at least 0")
        slant = np.linalg.norm(np.diff(self.profile, axis=0), axis=1)
        self.areas = np.pi * (radius[:-1] + radius[1:]) * slant
        self.area = float(self.areas.sum())

    def sample(self, count: int, rng: np.random.Generator) -> Floats:
        """Draw points uniformly by area: f64[count, 3]."""
        which = strata(self.areas, count, rng)
        start, end = self.profile[which], self.profile[which + 1]
        t = _along_taper(rng.random(count), start[:, 0], end[:, 0])
        radius = start[:, 0] + t * (end[:, 0] - start[:, 0])
        angle = rng.random(count) * 2 * np.pi
        height = start[:, 1] + t * (end[:, 1] - start[:, 1])
        return np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)

    def support(self, directions: Floats) -> Floats:
        """Largest projection on each direction: f64[M]."""
        flat = np.hypot(directions[:, 0], directions[:, 1])
        return (np.outer(flat, self.profile[:, 0]) + np.outer(directions[:, 2], self.profile[:, 1])).max(1)


class Ellipsoid(Primitive):
    """An ellipsoid around the origin.

    Args:
        radii: The three half axes.
    """

    def __init__(self, radii: Sequence[float]) -> None:
        self.radii = np.asarray(radii, dtype=np.float64)
        # area = (product of the radii) * integral over the unit sphere of |n / radii|; Gauss-Legendre in z,
        # the trapezoid rule around it: both converge exponentially on a smooth periodic integrand.
        z, weight = np.polynomial.legendre.leggauss(24)
        angle = np.arange(48) * (2 * np.pi / 48)
        ring = np.sqrt(1 - z**2)
        sphere = np.stack(
            [np.outer(ring, np.cos(angle)), np.outer(ring, np.sin(angle)), np.repeat(z[:, None], 48, axis=1)],
            axis=-1,
        )
        stretch = np.linalg.norm(sphere / self.radii, axis=-1)
        self.area = float(self.radii.prod() * (weight @ stretch).sum() * (2 * np.pi / 48))

    def sample(self, count: int, rng: np.random.Generator) -> Floats:
        """Draw points uniformly by area: f64[count, 3], by rejection from the sphere."""
        kept: list[Floats] = []
        missing = count
        while missing > 0:
            tries = int(missing * 1.8) + 16
            z = rng.random(tries) * 2 - 1
            angle = rng.random(tries) * 2 * np.pi
            ring = np.sqrt(1 - z**2)
            sphere = np.stack([ring * np.cos(angle), ring * np.sin(angle), z], axis=1)
            stretch = np.linalg.norm(sphere / self.radii, axis=1) * self.radii.min()  # in (0, 1]
            accepted = sphere[rng.random(tries) < stretch][:missing]
            kept.append(accepted)
            missing -= len(accepted)
        return np.concatenate(kept) * self.radii if kept else np.zeros((0, 3))

    def support(self, directions: Floats) -> Floats:
        """Largest projection on each direction: f64[M]."""
        return np.linalg.norm(directions * self.radii, axis=1)


class Torus(Primitive):
    """A ring in the plane z = 0 around the origin.

    Args:
        ring: Radius of the center line.
        tube: Radius of the tube, at most ``ring``.
    """

    def __init__(self, ring: float, tube: float) -> None:
        if tube > ring:
            raise ValueError(
                f"a tube of radius {tube:g} cuts itself on a ring of radius {ring:g}; make it smaller"
            )
        self.ring, self.tube = ring, tube
        self.area = 4 * np.pi**2 * ring * tube

    def sample(self, count: int, rng: np.random.Generator) -> Floats:
        """Draw points uniformly by area: f64[count, 3]."""
        around = rng.random(count) * 2 * np.pi
        across = _bent_angle(self.tube / self.ring, 0.0, count, rng)
        radius = self.ring + self.tube * np.cos(across)
        return np.stack(
            [radius * np.cos(around), radius * np.sin(around), self.tube * np.sin(across)], axis=1
        )

    def support(self, directions: Floats) -> Floats:
        """Largest projection on each direction: f64[M]."""
        flat = np.hypot(directions[:, 0], directions[:, 1])
        return self.ring * flat + self.tube * np.linalg.norm(directions, axis=1)


class Sweep(Primitive):
    """A round tube along a smooth path, given as a fine polyline.

    The surface element of a bent tube is larger on the outer side of the bend; sampling follows it.

    Args:
        path: f64[N + 1, 3] center line.
        radius: Radius of the tube, one number or one for each vertex of the path.
        reference: A direction that no tangent is parallel to; for a flat path the normal of its plane.
        capped: Whether discs close both ends.
    """

    def __init__(
        self, path: ArrayLike, radius: float | ArrayLike, reference: ArrayLike, *, capped: bool = False
    ) -> None:
        self.path = np.asarray(path, dtype=np.float64)
        self.radius = np.broadcast_to(np.asarray(radius, dtype=np.float64), (len(self.path),))
        steps = np.diff(self.path, axis=0)
        length = np.linalg.norm(steps, axis=1)
        straight = steps / length[:, None]
        tangent = np.concatenate([straight[:1], straight[:-1] + straight[1:], straight[-1:]])
        self.tangent = tangent / np.linalg.norm(tangent, axis=1, keepdims=True)
        side = _cross(
            self.tangent, np.broadcast_to(np.asarray(reference, dtype=np.float64), self.tangent.shape)
        )
        self.side = side / np.linalg.norm(side, axis=1, keepdims=True)
        self.normal = _cross(self.side, self.tangent)
        bend = np.zeros_like(self.path)  # curvature vector at each vertex, 1 / m
        bend[1:-1] = np.diff(straight, axis=0) / ((length[:-1] + length[1:]) / 2)[:, None]
        if len(bend) > 2:
            bend[0], bend[-1] = bend[1], bend[-2]
        self.bend = bend
        slant = np.hypot(length, np.diff(self.radius))
        self.areas = np.pi * (self.radius[:-1] + self.radius[1:]) * slant
        if capped:
            self.areas = np.append(self.areas, np.pi * self.radius[[0, -1]] ** 2)
        self.segments = len(length)
        self.area = float(self.areas.sum())

    def sample(self, count: int, rng: np.random.Generator) -> Floats:
        """Draw points uniformly by area: f64[count, 3]."""
        which = strata(self.areas, count, rng)
        on_cap = which >= self.segments
        first = np.where(on_cap, np.where(which == self.segments, 0, self.segments - 1), which)
        t = _along_taper(rng.random(count), self.radius[first], self.radius[first + 1])
        t = np.where(on_cap, which - self.segments, t)[:, None]  # a cap lies at the first or the last vertex
        center = (1 - t) * self.path[first] + t * self.path[first + 1]
        side = (1 - t) * self.side[first] + t * self.side[first + 1]
        normal = (1 - t) * self.normal[first] + t * self.normal[first + 1]
        bend = (1 - t) * self.bend[first] + t * self.bend[first + 1]
        radius = (1 - t[:, 0]) * self.radius[first] + t[:, 0] * self.radius[first + 1]
        strength = np.minimum(np.linalg.norm(bend, axis=1) * radius, 1.0)
        inward = np.arctan2((bend * normal).sum(1), (bend * side).sum(1))
        angle = _bent_angle(np.where(on_cap, 0.0, strength), inward + np.pi, count, rng)
        radius = np.where(on_cap, radius * np.sqrt(rng.random(count)), radius)
        return center + radius[:, None] * (np.cos(angle)[:, None] * side + np.sin(angle)[:, None] * normal)

    def support(self, directions: Floats) -> Floats:
        """Largest projection on each direction: f64[M]; the tube is the union of its circles."""
        leaning = directions @ self.tangent.T  # [M, N + 1]
        across = np.sqrt(np.maximum((directions**2).sum(1)[:, None] - leaning**2, 0.0))
        return (directions @ self.path.T + across * self.radius).max(1)


def _cross(a: Floats, b: Floats) -> Floats:
    """Cross product of f64[N, 3] pairs; several times quicker than numpy's general one on short arrays."""
    return np.stack(
        [
            a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1],
            a[:, 2] * b[:, 0] - a[:, 0] * b[:, 2],
            a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0],
        ],
        axis=1,
    )


def _band(a: Floats, b: Floats, *, closed: bool = True) -> Floats:
    """Triangles f64[M, 3, 3] between two polylines f64[N, 3] of equal length, closed to loops or open."""
    a_next, b_next = np.roll(a, -1, axis=0), np.roll(b, -1, axis=0)
    if not closed:
        a, b, a_next, b_next = a[:-1], b[:-1], a_next[:-1], b_next[:-1]
    return np.concatenate([np.stack([a, a_next, b], axis=1), np.stack([a_next, b_next, b], axis=1)])


def prism(
    outline: ArrayLike,
    height: float,
    *,
    hole: ArrayLike | None = None,
    top_scale: float = 1.0,
    open_ends: str = "",
) -> Facets:
    """A polygon pulled upwards, optionally tapering and with a hole.

    Args:
        outline: f64[N, 2], counter-clockwise, every corner visible from the origin (star-shaped).
        height: Distance by which it is pulled.
        hole: f64[N, 2], as many corners as the outline, at the same angles; None for a solid prism.
        top_scale: Size of the top relative to the bottom.
        open_ends: "bottom", "top" or both words: the ends to leave out because they touch another part.

    Raises:
        ValueError: The outline is not star-shaped around the origin.
    """
    outer = np.asarray(outline, dtype=np.float64)
    following = np.roll(outer, -1, axis=0)
    if (outer[:, 0] * following[:, 1] - outer[:, 1] * following[:, 0]).min() < -1e-12:
        raise ValueError(
            "prism outline must run counter-clockwise and be star-shaped around the origin; split it"
        )

    def lifted(loop: Floats, top: bool) -> Floats:
        scale, z = (top_scale, height) if top else (1.0, 0.0)
        return np.column_stack([loop * scale, np.full(len(loop), z)])

    inner = np.zeros_like(outer) if hole is None else np.asarray(hole, dtype=np.float64)
    faces = [_band(lifted(outer, False), lifted(outer, True))]
    if hole is not None:
        faces.append(_band(lifted(inner, False), lifted(inner, True)))
    for top, name in ((False, "bottom"), (True, "top")):
        if name not in open_ends:
            faces.append(_band(lifted(outer, top), lifted(inner, top)))
    return Facets(np.concatenate(faces))


def sector(
    outer: float, inner: float, start: float, end: float, height: float, *, segments: int = 24
) -> Facets:
    """A ring with a gap, pulled upwards: from ``start`` to ``end``, degrees counter-clockwise from x."""
    angle = np.radians(np.linspace(start, end, segments + 1))
    unit = np.column_stack([np.cos(angle), np.sin(angle), np.zeros(segments + 1)])
    up = np.array([0.0, 0.0, height])
    rails = [inner * unit, outer * unit, outer * unit + up, inner * unit + up]
    sides = [_band(rails[at], rails[(at + 1) % 4], closed=False) for at in range(4)]
    ends = [
        _band(np.stack([rails[0][at], rails[1][at]]), np.stack([rails[3][at], rails[2][at]]), closed=False)
        for at in (0, -1)
    ]
    return Facets(np.concatenate([*sides, *ends]))


def rectangle(width: float, depth: float, corner: float = 0.0) -> Floats:
    """Outline of a rectangle around the origin, f64[N, 2]; ``corner`` rounds its corners with that radius."""
    x, y = width / 2 - corner, depth / 2 - corner
    signs = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)])
    if corner == 0:
        return signs * (x, y)
    turns = np.linspace(0, np.pi / 2, 5)
    arcs = [
        sign * (x, y) + corner * np.column_stack([np.cos(turns + quarter), np.sin(turns + quarter)])
        for sign, quarter in zip(signs, np.arange(4) * np.pi / 2, strict=True)
    ]
    return np.concatenate(arcs)


def polygon(sides: int, radius: float, *, depth: float | None = None, turn: float = 0.0) -> Floats:
    """Outline of a regular polygon, f64[sides, 2]; with ``depth``, the second radius, an ellipse's."""
    angle = np.arange(sides) * (2 * np.pi / sides) + turn
    return np.column_stack([radius * np.cos(angle), (radius if depth is None else depth) * np.sin(angle)])


def box(width: float, depth: float, height: float, *, open_ends: str = "") -> Facets:
    """A box: width along x, depth along y, standing on z = 0."""
    return prism(rectangle(width, depth), height, open_ends=open_ends)


def frustum(bottom: float, top: float, height: float, *, open_ends: str = "") -> Lathe:
    """A cone frustum, with its end discs unless ``open_ends`` names "bottom" or "top"."""
    profile = [(bottom, 0.0), (top, height)]
    if "bottom" not in open_ends:
        profile.insert(0, (0.0, 0.0))
    if "top" not in open_ends:
        profile.append((0.0, height))
    return Lathe(profile)


def cylinder(radius: float, height: float, *, open_ends: str = "") -> Lathe:
    """A cylinder, with its end discs unless ``open_ends`` names "bottom" or "top"."""
    return frustum(radius, radius, height, open_ends=open_ends)


def tube(outer: float, inner: float, height: float) -> Lathe:
    """A cylinder with a coaxial bore, closed by annuli at both ends."""
    return Lathe([(inner, 0), (outer, 0), (outer, height), (inner, height), (inner, 0)])


def disc(radius: float, inner: float = 0.0) -> Lathe:
    """A flat disc or annulus in the plane z = 0."""
    return Lathe([(inner, 0.0), (radius, 0.0)])


def sphere(radius: float) -> Ellipsoid:
    """A sphere around the origin."""
    return Ellipsoid((radius, radius, radius))


def dome(radius: float, height: float, *, closed: bool = False, segments: int = 12) -> Lathe:
    """The upper half of a spheroid, standing on z = 0; ``closed`` adds the disc below it."""
    angle = np.linspace(0, np.pi / 2, segments + 1)
    profile = np.column_stack([radius * np.cos(angle), height * np.sin(angle)])
    profile[-1, 0] = 0.0
    return Lathe(np.concatenate([[(0.0, 0.0)], profile]) if closed else profile)


def arc(radius: float, start: float, end: float, *, segments: int = 24) -> Floats:
    """Points of a circle in the xz plane, angles in degrees from x towards z: f64[segments + 1, 3]."""
    angle = np.radians(np.linspace(start, end, segments + 1))
    return np.column_stack([radius * np.cos(angle), np.zeros(segments + 1), radius * np.sin(angle)])


def bezier(points: ArrayLike, *, segments: int = 24) -> Floats:
    """A cubic Bezier curve through its first and last control point: f64[4, 3] -> f64[segments + 1, 3]."""
    control: Any = np.asarray(points, dtype=np.float64)
    t = np.linspace(0, 1, segments + 1)[:, None]
    return (
        (1 - t) ** 3 * control[0]
        + 3 * (1 - t) ** 2 * t * control[1]
        + 3 * (1 - t) * t**2 * control[2]
        + t**3 * control[3]
    )
