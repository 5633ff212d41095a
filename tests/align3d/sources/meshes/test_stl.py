"""The STL reader: text in any encoding, binary files with colors of both kinds, and truncated ones."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from align3d.errors import RejectedItem
from align3d.sources.surface import ColoredPoints, read_points

TRIANGLES = [[[0, 0, 0], [1, 0, 0], [1, 1, 0]], [[0, 0, 0], [1, 1, 0], [0, 1, 0]]]
GRAY = (102, 102, 102)


def binary(header: bytes = b"", attributes: tuple[int, ...] = (0, 0)) -> bytes:
    data = header.ljust(80, b"\0") + struct.pack("<I", len(attributes))
    for corners, attribute in zip(TRIANGLES, attributes, strict=True):
        data += struct.pack("<12fH", 0, 0, 1, *np.ravel(corners), attribute)
    return data


def facets(x: float = 0.0) -> str:
    text = ""
    for corners in TRIANGLES:
        text += "facet normal 0 0 1\n outer loop\n"
        text += "".join(f"  vertex {a + x} {b} {c}\n" for a, b, c in corners)
        text += " endloop\nendfacet\n"
    return text


def solid(name: str, x: float = 0.0) -> str:
    return f"solid {name}\n{facets(x)}endsolid {name}\n"


def read(path: Path, data: bytes | str) -> ColoredPoints:
    (path / "shape.stl").write_bytes(data if isinstance(data, bytes) else data.encode())
    found = read_points(path / "shape.stl", 300, np.random.default_rng(0))
    np.testing.assert_allclose(found.corners[:, 1:], [[0, 0], [1, 0]])
    return found


def colors(found: ColoredPoints) -> list[tuple[int, ...]]:
    """The colors of the triangles below and above the diagonal."""
    below = found.points[:, 0] > found.points[:, 1]
    both = []
    for here in (below, ~below):
        (color,) = {tuple(color) for color in found.colors[here].tolist()}
        both.append(color)
    return both


RED_LOW, RED_HIGH = 31, 31 << 10


@pytest.mark.parametrize(
    ("header", "attributes", "expected"),
    [
        (b"", (0, 0), [GRAY, GRAY]),
        (b"", (RED_LOW, 7), [GRAY, GRAY]),
        (b"VisCAM", (0x8000 | RED_HIGH, 0), [(255, 0, 0), GRAY]),
        (b"", (0x8000 | 31, 0x8000 | 15 << 5), [(0, 0, 255), (0, 123, 0)]),
        (b"COLOR=\x0a\x14\x1e\xff,MATERIAL=", (RED_LOW, 0x8000), [(255, 0, 0), (10, 20, 30)]),
        (b"COLOR=\x0a\x14\x1e\xff", (0, 0), [(10, 20, 30)] * 2),
        (b"solid of a CAD program", (0, 0), [GRAY, GRAY]),
        ("solid grün facet".encode("latin-1"), (0, 0), [GRAY, GRAY]),
        (b"x" * 72 + b"COLOR=\x0a\x14", (0x8000, 0), [(0, 0, 0), GRAY]),
    ],
)
def test_colors_of_binary_files(
    tmp_path: Path, header: bytes, attributes: tuple[int, int], expected: list
) -> None:
    assert colors(read(tmp_path, binary(header, attributes))) == expected


@pytest.mark.parametrize(
    ("name", "encoding"),
    [("Stühle", "latin-1"), ("椅子", "gbk"), ("ножка", "cp1251"), ("grün", "utf-8-sig"), ("grün", "utf-16")],
)
def test_names_in_any_encoding(tmp_path: Path, name: str, encoding: str) -> None:
    found = read(tmp_path, solid(name).encode(encoding))
    assert found.part_names == (name,)
    assert colors(found) == [GRAY, GRAY]


def test_solids_are_parts(tmp_path: Path) -> None:
    found = read(tmp_path, solid("seat") + solid("front leg", 5) + solid("", 10))
    part = np.digitize(found.points[:, 0], [3, 8])
    assert found.part_names == ("seat", "front leg")
    assert (found.part == np.array([0, 1, -1])[part]).all()


@pytest.mark.parametrize(
    "text",
    [
        solid("a").replace("\n", "\r\n"),
        solid("a").upper(),
        " ".join(solid("").split()),
        solid("a vertex").replace("\n", "\n\t"),
        "\n" + solid("a") + "\n",
    ],
)
def test_legal_text_of_odd_looks(tmp_path: Path, text: str) -> None:
    np.testing.assert_allclose(read(tmp_path, text).corners, [[0, 0, 0], [1, 1, 0]])


def test_what_follows_a_binary_body_is_passed_over(tmp_path: Path) -> None:
    np.testing.assert_allclose(read(tmp_path, binary() + b"written by").corners, [[0, 0, 0], [1, 1, 0]])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (binary()[:-1], "1 facets of the header's 2: damaged or truncated"),
        (binary()[:83], "0 facets of the header's"),
        (binary()[:80] + b"\xff\xff\xff\xff" + binary()[84:], "2 facets of the header's 4294967295"),
        (binary()[:80] + b"\0\0\0\0", "mesh without faces"),
        (b"<html>", "damaged or truncated"),
        (solid("a")[:-20], "without endsolid: truncated"),
        (solid("a")[:85] + "\nendsolid", "truncated"),
        (solid("a").replace("1.0 0 0", "1.0 0"), "a vertex that is not three numbers"),
        (solid("a").replace("1.0 0 0", "1.0 0 x"), "expected a number, found 'x'"),
        ("solid a\nfacet\nendsolid\n", "mesh without faces"),
    ],
)
def test_broken_files_are_rejected_with_their_reason(tmp_path: Path, data: bytes | str, reason: str) -> None:
    with pytest.raises(RejectedItem, match=reason):
        read(tmp_path, data)
