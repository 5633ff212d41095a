"""VRML files as scenes: materials are parts."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from align3d.sources.meshes.scene import Appearance, Floats, MeshPart, Scene
from align3d.sources.vrml import Mesh, read_vrml

_MADE_UP = re.compile(r"material-(?:none|\d+)'*")  # by the reader, for materials without a name


def read_wrl(path: Path, root: Path) -> Scene:
    """Read a VRML 2.0 file in its own unit.

    Args:
        path: The file.
        root: Not used, files that a VRML file names are not read.

    Raises:
        RejectedItem: The file cannot be read, is truncated, breaks the grammar, or has no faces.
    """
    mesh = read_vrml(path, unit_m=1.0)
    parts = [_part(mesh, number) for number in np.unique(mesh.material)]
    return Scene(tuple(parts), mesh.lost, notes=mesh.notes)


def _part(mesh: Mesh, number: int) -> MeshPart:
    """The triangles of one material."""
    name = mesh.material_names[number]
    name = "" if _MADE_UP.fullmatch(name) else name
    here = mesh.material == number
    faces = mesh.faces[here]
    if mesh.corner_colors is None:
        color: Floats = mesh.material_colors[number].astype(np.float64)
        return MeshPart(name, mesh.vertices, faces, Appearance(factor=color))
    corners = np.arange(faces.size).reshape(-1, 3)
    colors = mesh.corner_colors[here].reshape(-1, 3)
    return MeshPart(name, mesh.vertices[faces.reshape(-1)], corners, Appearance(vertex_colors=colors))
