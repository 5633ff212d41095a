"""Format of an uploaded file by what it holds; its name counts where plain numbers leave the columns open."""

from __future__ import annotations

import re
from pathlib import PurePath

from experiments.demo_page.refusals import RefusedRequest

_HEAD = 4096
_OFF = re.compile(rb"(ST)?C?N?4?n?OFF\b")
_OBJ = re.compile(rb"^v[ \t]+[-+.\d]", re.MULTILINE)
_NUMBERS = re.compile(rb"[-+.\d][-+.\deE]*(?:[\s,;]+[-+.\d][-+.\deE]*){2,}")
_CLOUDS = (".xyz", ".xyzn", ".xyzrgb", ".pts")
_STL_HEAD, _STL_TRIANGLE = 84, 50
_LINE = re.compile(rb"[^\r\n]+")
_COMMENTS = (b"#", b"//", b";", b"%")


def suffix_of(content: bytes, name: str) -> str:
    """Suffix of the format that a file is in.

    Args:
        content: Of the file.
        name: Of the file, where it comes from.

    Raises:
        RefusedRequest: It is none of a mesh or a cloud.
    """
    head = content[:_HEAD].removeprefix(b"\xef\xbb\xbf").lstrip()
    for start, suffix in (
        (b"glTF", ".glb"),
        (b"ply", ".ply"),
        (b"#VRML", ".wrl"),
        (b"ISO-10303-21", ".step"),
    ):
        if head.startswith(start):
            return suffix
    if _is_stl(content, head):
        return ".stl"
    if head.startswith(b"{") and b'"asset"' in content:
        return ".gltf"
    if _OFF.match(head):
        return ".off"
    if b"\0" not in head:
        if _OBJ.search(content):
            return ".obj"
        given = PurePath(name).suffix.lower()
        if _has_points(content[: 16 * _HEAD]):
            return given if given in _CLOUDS else ".xyz"
    raise RefusedRequest(
        "no mesh or cloud that can be read here, by what it holds; expected GLB, glTF, OBJ, PLY, STL, OFF, "
        "VRML 2, STEP, or a point per line"
    )


def _is_stl(content: bytes, head: bytes) -> bool:
    triangles = int.from_bytes(content[_STL_HEAD - 4 : _STL_HEAD], "little")
    if triangles and len(content) == _STL_HEAD + _STL_TRIANGLE * triangles:
        return True
    return head.startswith(b"solid") and b"facet" in head


def _has_points(content: bytes) -> bool:
    """Whether one of the first lines that are no comment is a point."""
    lines = (one.group().strip() for one in _LINE.finditer(content))
    first = [line for line in lines if line and not line.startswith(_COMMENTS)][:3]
    return any(_NUMBERS.match(line) for line in first)
