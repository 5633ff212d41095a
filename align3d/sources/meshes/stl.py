"""Reader of STL, ASCII and binary, with the two ways in which binary files color their facets.

VisCAM and SolidView set bit 15 of a facet's attribute where it has a color of its own, with blue in the
lowest five bits; Materialise Magics names a color of the whole shape in the header, clears bit 15 where a
facet has one of its own, and has red in the lowest bits.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from align3d.errors import RejectedItem
from align3d.record import MISSING_COLOR
from align3d.sources.meshes.number_lines import TextLines
from align3d.sources.meshes.polygons import triangulate
from align3d.sources.meshes.scene import Appearance, MeshPart, Scene, given_name
from align3d.sources.meshes.text_encoding import decode_names, text_bytes

_HEADER = 84  # bytes before the first facet: a text of 80, and the number of facets
_FACET = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_OWN = 0x8000


def read_stl(path: Path, root: Path) -> Scene:
    """Read an STL file.

    Args:
        path: The file.
        root: Not used, an STL file names no others.

    Raises:
        RejectedItem: The file is damaged, truncated, or has no facets.
    """
    data = path.read_bytes()
    if not data:
        raise RejectedItem("no geometry in the file: it is empty")
    count = int.from_bytes(data[80:_HEADER], "little")
    if len(data) >= _HEADER and len(data) == _HEADER + count * _FACET.itemsize:
        return _binary(data, count)
    text = text_bytes(data)
    if text[:512].lstrip()[:5].lower() == b"solid" and b"facet" in text[:4096].lower():
        return _ascii(text, path.name)
    if len(data) < _HEADER + count * _FACET.itemsize or not count:
        held = max(len(data) - _HEADER, 0) // _FACET.itemsize
        raise RejectedItem(f"{held} facets of the header's {count}: damaged or truncated?")
    return _binary(data, count)  # some writers append texts of their own


def _binary(data: bytes, count: int) -> Scene:
    if not count:
        raise RejectedItem("mesh without faces")
    facets = np.frombuffer(data, _FACET, count, _HEADER)
    vertices = facets["corners"].reshape(-1, 3).astype(np.float64)
    faces = np.arange(3 * count).reshape(-1, 3)
    return Scene((MeshPart("", vertices, faces, _colors(data[:80], facets["attribute"])),))


def _colors(header: bytes, attribute: NDArray[np.uint16]) -> Appearance:
    bits = attribute.astype(np.int64)
    five = np.stack([bits & 31, bits >> 5 & 31, bits >> 10 & 31], axis=1)
    own = np.round(five * (255.0 / 31.0))
    mark = header.find(b"COLOR=")
    if 0 <= mark <= 80 - len(b"COLOR=") - 4:
        whole = np.frombuffer(header, np.uint8, 3, mark + len(b"COLOR=")).astype(np.float64)
        if not bits.any():  # attributes left at 0, rather than a shape that is black all over
            return Appearance(factor=whole)
        return Appearance(face_colors=np.where((bits & _OWN == 0)[:, None], own, whole))
    colored = (bits & _OWN) != 0
    if not colored.any():
        return Appearance()
    return Appearance(face_colors=np.where(colored[:, None], own[:, ::-1], float(MISSING_COLOR)))


def _ascii(text: bytes, file_name: str) -> Scene:
    small = text.lower()
    lines = TextLines(small)
    if not lines.begin_with(b"vertex").any():  # a facet in a line
        for word in (b"vertex", b"endloop", b"endsolid"):
            small = small.replace(word, b"\n" + word)
        lines = TextLines(small)
        text = small
    is_vertex = lines.begin_with(b"vertex")
    rows = lines.numbers(is_vertex, len(b"vertex"))
    if len(rows.counts) and (rows.counts != 3).any():
        raise RejectedItem("a vertex that is not three numbers: damaged or truncated?")
    vertices = rows.columns(0, 3) if len(rows.counts) else np.empty((0, 3))
    loops = np.flatnonzero(lines.begin_with(b"endloop"))
    ends = np.searchsorted(np.flatnonzero(is_vertex), loops)
    if not lines.begin_with(b"endsolid").any() or (ends[-1] if len(ends) else 0) != len(vertices):
        raise RejectedItem("an STL text that ends without endsolid: truncated?")
    cut = triangulate(vertices, np.diff(ends, prepend=0))
    if not len(cut.polygon):
        raise RejectedItem("mesh without faces")
    solids = np.flatnonzero(lines.begin_with(b"solid"))
    found = decode_names([text[lines.starts[k] : lines.ends[k]][len(b"solid") :].strip() for k in solids])
    names = [given_name(name, file_name) for name in found] or [""]
    solid = np.maximum(np.searchsorted(solids, loops[cut.polygon]) - 1, 0)
    return Scene(
        tuple(MeshPart(names[number], vertices, cut.corners[solid == number]) for number in np.unique(solid))
    )
