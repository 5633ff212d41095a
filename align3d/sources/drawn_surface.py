"""Surface of a shape as it is drawn: triangles, and the colors of any point on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from align3d.sampling import rotate_up
from align3d.sources.meshes.scene import MeshPart, Scene

Colors = Callable[[NDArray[np.int64], NDArray[Any]], NDArray[np.uint8]]


@dataclass(frozen=True)
class DrawnSurface:
    """Triangles and their colors.

    Attributes:
        triangles: f64[F, 3, 3], corners, z up, in any unit.
        colors: Colors u8[P, 3] of points on triangles i64[P] with barycentric weights f64[P, 3].
    """

    triangles: NDArray[np.float64]
    colors: Colors


def surface_of_scene(scene: Scene, up: str) -> DrawnSurface | None:
    """Surface of a scene, turned so that z is up; None where it has no triangles."""
    meshes = [part for part in scene.parts if isinstance(part, MeshPart) and len(part.faces)]
    if not meshes:
        return None
    first = np.cumsum([0, *(len(mesh.faces) for mesh in meshes)])

    def colors(face: NDArray[np.int64], weights: NDArray[Any]) -> NDArray[np.uint8]:
        found = np.empty((len(face), 3), dtype=np.uint8)
        mesh_of = np.searchsorted(first, face, side="right") - 1
        for number in np.unique(mesh_of):
            here = mesh_of == number
            own = face[here] - first[number]
            mesh = meshes[number]
            found[here] = mesh.appearance.colors(own, mesh.faces[own], weights[here])
        return found

    triangles = np.concatenate([mesh.vertices[mesh.faces] for mesh in meshes])
    return DrawnSurface(rotate_up(triangles, up), colors)
