"""Scene of a mesh file: parts placed in common axes, what colors them, and what was lost in reading."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from align3d.record import MISSING_COLOR

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]

_NUMBERED = re.compile(r"(?:geometry|mesh|object|default)?[_.]?\d*", re.IGNORECASE)


@dataclass(frozen=True)
class Texture:
    """Image on a surface.

    Attributes:
        image: u8[H, W, 3], the upper row first. Parts that share an image share the array.
        uv: f64[V, 2], each vertex's place in it: u to the right, v upwards.
        wrap: What lies outside 0..1 along u and along v: "repeat", "mirror" or "clamp".
    """

    image: Bytes
    uv: Floats
    wrap: tuple[str, str] = ("repeat", "repeat")


@dataclass(frozen=True)
class Appearance:
    """Colors of a part's surface: the product of all that is given, and the glow; gray where nothing is.

    Attributes:
        factor: f64[3] in 0..255, a material's color.
        vertex_colors: [V, 3] in 0..255, blended over each face.
        face_colors: [F, 3] in 0..255.
        texture: Image and coordinates.
        glow: Light that is added to the product, as of an emissive texture; it has no glow of its own.
    """

    factor: Floats | None = None
    vertex_colors: NDArray[Any] | None = None
    face_colors: NDArray[Any] | None = None
    texture: Texture | None = None
    glow: Appearance | None = None

    def colors(self, face: Ints, corners: Ints, weights: Floats) -> Bytes:
        """Colors of points on the surface.

        Args:
            face: i64[P], the triangle of each point.
            corners: i64[P, 3], its vertices.
            weights: f64[P, 3], barycentric.

        Returns:
            u8[P, 3].
        """
        light = [
            color
            for one in (self, self.glow)
            if one is not None and (color := one._product(face, corners, weights)) is not None
        ]
        if not light:
            return np.full((len(face), 3), MISSING_COLOR, dtype=np.uint8)
        return np.round(np.clip(np.sum(light, axis=0), 0.0, 255.0)).astype(np.uint8)

    def _product(self, face: Ints, corners: Ints, weights: Floats) -> Floats | None:
        """Product of what is given without the glow, f64[P, 3] in 0..255; None where nothing is."""
        layers: list[Floats] = []
        if self.texture is not None:
            uv = np.einsum("pk,pkc->pc", weights, self.texture.uv[corners])
            layers.append(texels(self.texture.image, uv, self.texture.wrap))
        if self.factor is not None:
            layers.append(np.broadcast_to(self.factor, (len(face), 3)).astype(np.float64))
        if self.vertex_colors is not None:
            layers.append(np.einsum("pk,pkc->pc", weights, self.vertex_colors[corners].astype(np.float64)))
        if self.face_colors is not None:
            layers.append(self.face_colors[face].astype(np.float64))
        if not layers:
            return None
        product = layers[0]
        for layer in layers[1:]:
            product = product * (layer / 255.0)
        return product


@dataclass(frozen=True)
class MeshPart:
    """Triangles of one name.

    Attributes:
        name: The part's name as the file gives it; empty where it gives none.
        vertices: f64[V, 3] in the scene's axes and the file's unit.
        faces: i64[F, 3].
        appearance: What colors it.
    """

    name: str
    vertices: Floats
    faces: Ints
    appearance: Appearance = Appearance()


@dataclass(frozen=True)
class CloudPart:
    """Points of one name.

    Attributes:
        name: The part's name as the file gives it; empty where it gives none.
        points: f64[N, 3] in the scene's axes and the file's unit.
        colors: u8[N, 3]; None where the file gives none.
    """

    name: str
    points: Floats
    colors: Bytes | None = None


@dataclass(frozen=True)
class Scene:
    """Contents of a mesh file.

    Attributes:
        parts: All parts; clouds count only where there is no mesh.
        lost: Why colors of the file were dropped, a line each; empty where none were.
        unit_m: Meters of one unit, where the file or its format says so.
        notes: What else a reader had to guess, a line each; empty where nothing.
    """

    parts: tuple[MeshPart | CloudPart, ...]
    lost: tuple[str, ...] = ()
    unit_m: float | None = None
    notes: tuple[str, ...] = ()


def given_name(name: str, file_name: str) -> str:
    """A part's name; empty where a program made it up (the file's own, ``geometry_0``)."""
    return "" if name == file_name or _NUMBERED.fullmatch(name) else name


def texels(image: Bytes, uv: Floats, wrap: tuple[str, str] = ("repeat", "repeat")) -> Floats:
    """The pixels at texture coordinates [P, 2], see `Texture`: f64[P, 3]."""
    height, width = image.shape[:2]
    u, v = (_wrapped(np.nan_to_num(uv[:, axis]), wrap[axis]) for axis in (0, 1))
    column = np.minimum((u * width).astype(np.int64), width - 1)
    row = np.minimum(((1.0 - v) * height).astype(np.int64), height - 1)
    return image[row, column].astype(np.float64)


def _wrapped(place: Floats, wrap: str) -> Floats:
    """Coordinates [P] within 0..1."""
    if wrap == "clamp":
        return np.clip(place, 0.0, 1.0)
    if wrap == "mirror":
        return 1.0 - np.abs(place % 2.0 - 1.0)
    return place % 1.0
