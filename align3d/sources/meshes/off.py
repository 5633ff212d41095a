"""Reader of OFF, Geomview's polygons, with colors of vertices and of faces.

Format: "OFF Files" of the Geomview manual; header ``[ST][C][N]OFF``, a vertex or a face per line.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from align3d.errors import RejectedItem
from align3d.record import MISSING_COLOR
from align3d.sources.meshes.color_range import UnknownRange, to_255
from align3d.sources.meshes.number_lines import NumberRows, parse_rows
from align3d.sources.meshes.polygons import triangulate
from align3d.sources.meshes.scene import Appearance, Floats, Ints, MeshPart, Scene
from align3d.sources.meshes.text_encoding import text_bytes

_HEADER = re.compile(rb"(?:\s|#[^\n]*\n)*(ST)?(C)?(N)?(4)?(n)?OFF", re.IGNORECASE)


def read_off(path: Path, root: Path) -> Scene:
    """Read an OFF file.

    Args:
        path: The file.
        root: Not used, an OFF file names no others.

    Raises:
        RejectedItem: The file is damaged, of another kind of OFF, or has no faces.
    """
    text = text_bytes(path.read_bytes())
    header = _HEADER.match(text)
    if header is None:
        raise RejectedItem("not an OFF file: it does not begin with OFF")
    textured, colored, with_normals, four, many = (group is not None for group in header.groups())
    if four or many:
        raise RejectedItem(f"{header[0].decode().strip()} of more than three dimensions is not read")
    body = text[header.end() :]
    if body.lstrip().upper().startswith(b"BINARY"):
        raise RejectedItem("binary OFF is not read; save it as text")
    rows = _without_empty(parse_rows(np.frombuffer(body + b"\n", dtype=np.uint8)))
    vertex_rows, face_rows = _split(rows)
    width = 3 + 3 * with_normals + 3 * colored + 2 * textured
    if len(vertex_rows.counts) and vertex_rows.counts.min() < width:
        raise RejectedItem(f"a vertex of {vertex_rows.counts.min()} numbers, expected at least {width}")
    lost: list[str] = []
    points = vertex_rows.columns(0, 3)
    vertex_colors = None
    if colored:
        first = 3 + 3 * with_normals
        vertex_colors = _in_range(vertex_rows.columns(first, first + 3), "vertices", lost)
    elif len(points) and vertex_rows.counts.min() >= width + 3:
        lost.append("numbers after the vertices are not read; vertices with colors begin with COFF")
    appearance = Appearance(vertex_colors=vertex_colors)
    sizes, corner, face_colors = _faces(face_rows, len(points), lost)
    cut = triangulate(points[corner], sizes)
    if not len(cut.polygon):
        raise RejectedItem("mesh without faces")
    if face_colors is not None and vertex_colors is None:
        appearance = Appearance(face_colors=face_colors[cut.polygon])
    part = MeshPart("", points, corner[cut.corners], appearance)
    return Scene((part,), tuple(lost), notes=tuple(cut.doubts))


def _without_empty(rows: NumberRows) -> NumberRows:
    return NumberRows(rows.values, rows.counts[rows.counts > 0])


def _split(rows: NumberRows) -> tuple[NumberRows, NumberRows]:
    """Rows of vertices and of faces, as many as the first row says."""
    if not len(rows.counts) or rows.counts[0] < 2:
        raise RejectedItem("an OFF file without numbers of vertices and faces: damaged or truncated?")
    vertices, faces = rows.values[:2]
    last = vertices + faces + 1
    if not (vertices >= 0 and faces >= 0 and vertices % 1 == 0 and faces % 1 == 0):
        raise RejectedItem(f"{vertices:g} vertices and {faces:g} faces: damaged file?")
    if last > len(rows.counts):
        raise RejectedItem(
            f"{len(rows.counts) - 1} lines for {vertices:.0f} vertices and {faces:.0f} faces: truncated?"
        )
    borders = [1, int(vertices) + 1, int(last)]
    ends = np.cumsum(rows.counts)
    return (
        NumberRows(rows.values[ends[borders[0] - 1] : ends[borders[1] - 1]], rows.counts[1 : borders[1]]),
        NumberRows(
            rows.values[ends[borders[1] - 1] : ends[borders[2] - 1]], rows.counts[borders[1] : borders[2]]
        ),
    )


def _faces(rows: NumberRows, vertices: int, lost: list[str]) -> tuple[Ints, Ints, Floats | None]:
    """Sizes of all polygons i64[M], their corners i64[N], and their colors f64[M, 3] or None."""
    sizes = rows.values[rows.starts]
    if len(sizes) and ((sizes < 0) | (sizes + 1 > rows.counts) | (sizes % 1 != 0) | np.isnan(sizes)).any():
        raise RejectedItem("a face of more corners than its line has: damaged or truncated?")
    size = sizes.astype(np.int64)
    step = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
    corner = rows.values[np.repeat(rows.starts + 1, size) + step]
    if len(corner) and not ((corner >= 0) & (corner < vertices) & (corner % 1 == 0)).all():
        raise RejectedItem(f"a face names a vertex that is not there (of {vertices}): damaged file?")
    further = rows.counts - size - 1
    colored = (further == 3) | (further == 4)
    if (further == 1).any():
        lost.append("colors of faces by their number in a color map are not read")
    if (~colored & (further > 1)).any():
        lost.append("colors of faces of 2 or more than 4 numbers are not read")
    colors = None
    if colored.any():
        found = rows.values[(rows.starts + 1 + size)[colored][:, None] + np.arange(3)]
        scaled = _in_range(found, "faces", lost)
        if scaled is not None:
            colors = np.full((len(size), 3), float(MISSING_COLOR))
            colors[colored] = scaled
    return size, corner.astype(np.int64), colors


def _in_range(values: Floats, what: str, lost: list[str]) -> Floats | None:
    try:
        return to_255(values)
    except UnknownRange as error:
        lost.append(f"colors of {what}: {error}")
        return None
