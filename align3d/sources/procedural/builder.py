"""Builder of shapes from primitives: parts with poses and colors go in, a labeled point cloud comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from align3d.sources.procedural.attributes import PALETTE
from align3d.sources.procedural.primitives import Floats, Primitive, strata


@dataclass(frozen=True)
class Cloud:
    """Points of one shape, in random order."""

    points: Floats
    """f64[P, 3] in meters."""
    colors: NDArray[np.uint8]
    """u8[P, 3]."""
    part: NDArray[np.int16]
    """i16[P], index into ``part_names``."""
    part_names: tuple[str, ...]
    size: Floats
    """f64[3], exact bounding box in meters."""


def turn(axis: str, degrees: float) -> Floats:
    """Rotation matrix f64[3, 3] around "x", "y" or "z", counter-clockwise seen from the axis' tip."""
    angle = np.radians(degrees)
    c, s = np.cos(angle), np.sin(angle)
    if axis == "x":
        return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    if axis == "y":
        return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def turns(axis: str, degrees: ArrayLike) -> Floats:
    """Rotation matrices f64[K, 3, 3] around one axis, one for each angle."""
    return np.stack([turn(axis, float(angle)) for angle in np.atleast_1d(np.asarray(degrees))])


def aim(direction: ArrayLike) -> Floats:
    """Rotations f64[K, 3, 3] (or [3, 3]) that take the z axis to the directions f64[K, 3] (or [3])."""
    given = np.asarray(direction, dtype=np.float64)
    z = np.atleast_2d(given)
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    helper = np.where(np.abs(z[:, 1:2]) < 0.9, [[0.0, 1.0, 0.0]], [[0.0, 0.0, 1.0]])
    x = np.cross(helper, z)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    frames = np.stack([x, np.cross(z, x), z], axis=2)
    return frames if given.ndim == 2 else frames[0]


def circle(count: int, radius: float, z: float = 0.0, *, first: float = 0.0) -> Floats:
    """``count`` places evenly around the z axis, f64[count, 3], the first at an angle in degrees."""
    angle = np.radians(first + np.arange(count) * (360.0 / count))
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle), np.full(count, z)])


def row(
    count: int, spacing: float, *, axis: int = 0, y: float = 0.0, z: float = 0.0, x: float = 0.0
) -> Floats:
    """``count`` places in a row along an axis, centered on (x, y, z): f64[count, 3]."""
    places = np.tile(np.array([x, y, z]), (count, 1))
    places[:, axis] += (np.arange(count) - (count - 1) / 2) * spacing
    return places


def moved(places: ArrayLike, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Floats:
    """Places moved by the same step: f64[..., 3]."""
    return np.asarray(places, dtype=np.float64) + np.array([x, y, z])


class Builder:
    """Collects the parts of one shape; a part may be added in several pieces and a piece at several poses.

    Args:
        colors: Name in ``PALETTE`` by name of the part, for the parts whose color the parameters set.
    """

    def __init__(self, colors: Mapping[str, str]) -> None:
        self._colors = dict(colors)
        self._pieces: list[tuple[Primitive, int, Floats, Floats]] = []  # primitive, part, rotations, places
        self._parts: dict[str, str] = {}

    def add(
        self,
        part: str,
        primitive: Primitive,
        at: ArrayLike = (0.0, 0.0, 0.0),
        *,
        rotate: ArrayLike | None = None,
        color: str | None = None,
    ) -> None:
        """Add a piece of a part.

        Args:
            part: The part's name; pieces of the same name share label and color.
            primitive: Surface in a frame of its own.
            at: Position of its origin, f64[3], or f64[K, 3] for K copies.
            rotate: f64[3, 3] for all copies or f64[K, 3, 3], applied before moving.
            color: Color of a part whose color no attribute sets.

        Raises:
            ValueError: No color, or a second color for the same part.
        """
        wanted = self._colors.get(part, color) or self._parts.get(part)
        if wanted is None:
            raise ValueError(
                f"part {part!r} has no color: give it a Color attribute, or pass color= when adding it"
            )
        if self._parts.setdefault(part, wanted) != wanted:
            raise ValueError(
                f"part {part!r} is {self._parts[part]} already, not {wanted}; name the piece differently"
            )
        rotations = np.eye(3) if rotate is None else np.asarray(rotate, dtype=np.float64)
        places = np.atleast_2d(np.asarray(at, dtype=np.float64))
        copies = max(len(places), 1 if rotations.ndim == 2 else len(rotations))
        places = np.broadcast_to(places, (copies, 3))
        self._pieces.append(
            (primitive, list(self._parts).index(part), np.broadcast_to(rotations, (copies, 3, 3)), places)
        )

    @property
    def part_names(self) -> tuple[str, ...]:
        """Names of the parts, in the order in which they were first added."""
        return tuple(self._parts)

    @property
    def area(self) -> float:
        """Area of all surfaces in square meters."""
        return sum(piece[0].area * len(piece[3]) for piece in self._pieces)

    def bounds(self) -> tuple[Floats, Floats]:
        """Lowest and highest corner of the exact axis-aligned bounding box, f64[3] each, in meters."""
        low, high = np.full(3, np.inf), np.full(3, -np.inf)
        for primitive, _, rotations, places in self._pieces:
            axes = rotations.reshape(-1, 3)  # row e of a rotation is world axis e in the piece's own frame
            high = np.maximum(high, (primitive.support(axes).reshape(-1, 3) + places).max(0))
            low = np.minimum(low, (places - primitive.support(-axes).reshape(-1, 3)).min(0))
        return low, high

    def sample(self, count: int, rng: np.random.Generator) -> Cloud:
        """Draw ``count`` points uniformly over all surfaces, in random order."""
        weights = np.array([piece[0].area * len(piece[3]) for piece in self._pieces])
        shares = np.bincount(strata(weights, count, rng), minlength=len(weights))
        points = np.empty((count, 3))
        part = np.empty(count, dtype=np.int16)
        start = 0
        for (primitive, label, rotations, places), share in zip(self._pieces, shares.tolist(), strict=True):
            if share == 0:
                continue
            local = primitive.sample(share, rng)
            if len(places) == 1:
                local = local @ rotations[0].T + places[0]
            else:
                # consecutive samples lie on neighboring facets, so copies are dealt in a random order
                copy = rng.permutation(strata(np.ones(len(places)), share, rng))
                local = np.matmul(rotations[copy], local[:, :, None])[:, :, 0] + places[copy]
            points[start : start + share] = local
            part[start : start + share] = label
            start += share
        order = rng.permutation(count)
        points, part = points[order], part[order]
        finish = [PALETTE[name] for name in self._parts.values()]
        base = np.array([color.rgb for color in finish], dtype=np.float64)
        noise = np.array([color.noise for color in finish])
        shade = rng.standard_normal(count) * noise[part]
        colors = np.clip(np.rint(base[part] + shade[:, None]), 0, 255).astype(np.uint8)
        low, high = self.bounds()
        return Cloud(points, colors, part, self.part_names, high - low)
