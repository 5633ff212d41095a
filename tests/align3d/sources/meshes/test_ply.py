"""The PLY reader: ASCII and binary, polygons of every size, and colors under every name and range."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from align3d.errors import RejectedItem
from align3d.sources.surface import ColoredPoints, read_points

P = 300
SQUARE = ["0 0 0", "1 0 0", "1 1 0", "0 1 0"]
NOTCH = ["0 0 0", "4 0 0", "4 4 0", "2 1 0", "0 4 0"]


def ply(
    vertices: list[str],
    faces: list[str],
    of_vertex: str = "",
    of_face: str = "",
    comment: str = "",
    form: str = "ascii",
) -> str:
    """Text of a file; further properties are lines such as "uchar red"."""
    lines = ["ply", f"format {form} 1.0", *([f"comment {comment}"] if comment else [])]
    lines += [f"element vertex {len(vertices)}", *(f"property float {axis}" for axis in "xyz")]
    lines += [f"property {one}" for one in of_vertex.split("\n") if one]
    lines += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
    lines += [f"property {one}" for one in of_face.split("\n") if one]
    return "\n".join([*lines, "end_header", *vertices, *faces, ""])


def rgb(kind: str, prefix: str = "") -> str:
    return "\n".join(f"{kind} {prefix}{color}" for color in ("red", "green", "blue"))


def read(path: Path, data: str | bytes) -> ColoredPoints:
    (path / "shape.ply").write_bytes(data if isinstance(data, bytes) else data.encode())
    return read_points(path / "shape.ply", P, np.random.default_rng(0))


def colors(found: ColoredPoints) -> set[tuple[int, ...]]:
    return {tuple(color) for color in found.colors.tolist()}


VERTEX_COLORS = {
    "bytes": (rgb("uchar"), "200 100 0", (200, 100, 0)),
    "diffuse": (rgb("uchar", "diffuse_"), "200 100 0", (200, 100, 0)),
    "with alpha": (rgb("uint8") + "\nuchar alpha", "200 100 0 7", (200, 100, 0)),
    "floats in 0 to 1": (rgb("float"), "1 0.5 0", (255, 128, 0)),
    "floats in 0 to 255": (rgb("double"), "200 100 0", (200, 100, 0)),
    "16 bits": (rgb("ushort"), "65535 25700 0", (255, 100, 0)),
    "dark bytes": (rgb("uchar"), "1 1 0", (1, 1, 0)),
    "capital letters": (rgb("uchar").upper().replace("UCHAR", "uchar"), "200 100 0", (200, 100, 0)),
    "short names": ("uchar r\nuchar g\nuchar b", "200 100 0", (200, 100, 0)),
    "splats": ("float f_dc_0\nfloat f_dc_1\nfloat f_dc_2", "0 1.7724539 -1.7724539", (128, 255, 0)),
}


@pytest.mark.parametrize("name", VERTEX_COLORS)
@pytest.mark.parametrize("faces", [["4 0 1 2 3"], []], ids=["mesh", "cloud"])
def test_colors_of_vertices(tmp_path: Path, name: str, faces: list[str]) -> None:
    properties, values, expected = VERTEX_COLORS[name]
    found = read(tmp_path, ply([f"{corner} {values}" for corner in SQUARE], faces, properties))
    assert colors(found) == {expected}
    assert found.lost == ()


@pytest.mark.parametrize(
    ("kind", "value"), [("uchar", "255 0 128"), ("float", "1 0 0.5"), ("int", "255 0 128")]
)
def test_colors_of_faces(tmp_path: Path, kind: str, value: str) -> None:
    black = " ".join(["0"] * 3)
    faces = [f"3 0 1 2 {value}", f"3 0 2 3 {black}"]
    found = read(tmp_path, ply(SQUARE, faces, of_face=rgb(kind)))
    below = found.points[:, 0] > found.points[:, 1]
    assert (found.colors[below] == [255, 0, 128]).all()
    assert (found.colors[~below] == 0).all()


def test_vertices_of_one_color_give_way_to_faces_of_many(tmp_path: Path) -> None:
    white = [f"{corner} 255 255 255" for corner in SQUARE]
    faces = ["3 0 1 2 255 0 0", "3 0 2 3 0 0 255"]
    found = read(tmp_path, ply(white, faces, rgb("uchar"), rgb("uchar")))
    assert colors(found) == {(255, 0, 0), (0, 0, 255)}


def test_an_image_by_coordinates_of_vertices_and_of_corners(tmp_path: Path) -> None:
    (tmp_path / "Sub dir").mkdir()
    Image.fromarray(np.array([[[10, 0, 0], [20, 0, 0]]], np.uint8)).save(tmp_path / "Sub dir/Wood.png")
    halves = [f"{corner} {u} 0" for corner, u in zip(SQUARE, (0, 0.999, 0.999, 0), strict=True)]
    comment = "TextureFile sub dir\\wood.PNG"
    for text in (
        ply(halves, ["4 0 1 2 3"], "float s\nfloat t", comment=comment),
        ply(
            SQUARE,
            ["4 0 1 2 3 8 0 0 .999 0 .999 0 0 0"],
            of_face="list uchar float texcoord",
            comment=comment,
        ),
    ):
        found = read(tmp_path, text)
        left = found.points[:, 0] < 0.49
        assert (found.colors[left] == [10, 0, 0]).all()
        assert (found.colors[found.points[:, 0] > 0.51] == [20, 0, 0]).all()
        assert found.lost == ()


def test_several_images_by_their_number(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (10, 0, 0)).save(tmp_path / "a.png")
    text = ply(
        SQUARE,
        ["3 0 1 2 6 0 0 0 0 0 0 0", "3 0 2 3 6 0 0 0 0 0 0 1"],
        of_face="list uchar float texcoord\nint texnumber",
        comment="TextureFile a.png\ncomment TextureFile gone.png",
    )
    found = read(tmp_path, text)
    below = found.points[:, 0] > found.points[:, 1]
    assert (found.colors[below] == [10, 0, 0]).all()
    assert (found.colors[~below] == 102).all()
    assert found.lost == ("TextureFile: no file 'gone.png'",)


def square(values: str, properties: str, comment: str = "") -> str:
    return ply([f"{corner} {values}" for corner in SQUARE], ["4 0 1 2 3"], properties, comment=comment)


LOST = {
    "negative": (square("-1 0 0", rgb("float")), "red, green, blue of vertex: a color of -1"),
    "gone": (square("0 0", "float s\nfloat t", "TextureFile x"), "TextureFile: no file 'x'"),
    "outside": (square("0 0", "float s\nfloat t", "TextureFile ../x"), "TextureFile: '../x' leaves the root"),
    "names": (square("0", "int color"), "color of vertex: expected red, green and blue"),
}


@pytest.mark.parametrize("name", LOST)
def test_colors_that_cannot_be_had_are_told(tmp_path: Path, name: str) -> None:
    text, reason = LOST[name]
    found = read(tmp_path, text)
    assert colors(found) == {(102, 102, 102)}
    assert len(found.lost) == 1
    assert re.search(reason, found.lost[0]), found.lost


def packed(order: str, vertices: list[str], faces: list[str]) -> bytes:
    """The vertices and faces of an ASCII file as a binary one."""
    form = "binary_little_endian" if order == "<" else "binary_big_endian"
    data = ply([], [], form=form).replace("vertex 0", f"vertex {len(vertices)}")
    binary = data.replace("face 0", f"face {len(faces)}").encode()
    binary += b"".join(struct.pack(order + "3f", *map(float, row.split())) for row in vertices)
    for row in faces:
        count, *indices = map(int, row.split())
        binary += struct.pack(f"{order}B{count}i", count, *indices)
    return binary


@pytest.mark.parametrize("order", ["<", ">", "ascii"])
def test_polygons_of_different_sizes(tmp_path: Path, order: str) -> None:
    vertices = [*NOTCH, "9 0 0", "9 9 0"]
    faces = ["5 1 2 3 4 0", "3 1 5 6", "4 1 5 6 2", "0", "2 0 1"]
    found = read(tmp_path, ply(vertices, faces) if order == "ascii" else packed(order, vertices, faces))
    x, y = found.points[:, 0], found.points[:, 1]
    assert not ((y > 1 + 1.5 * np.abs(x - 2) + 1e-9) & (x < 4)).any()
    assert (x > 4).any()
    np.testing.assert_allclose(found.corners, [[0, 0, 0], [9, 9, 0]])


def test_triangle_strips(tmp_path: Path) -> None:
    text = ply(["0 0 0", "0 1 0", "1 0 0", "1 1 0", "5 0 0", "5 1 0", "6 0 0"], ["8 0 1 2 3 -1 4 5 6"])
    found = read(tmp_path, text.replace("element face", "element tristrips"))
    x = found.points[:, 0]
    assert not ((x > 1) & (x < 5)).any()
    assert abs((x > 4).mean() - 1 / 3) < 0.02


def test_other_elements_are_passed_over(tmp_path: Path) -> None:
    text = ply(SQUARE, ["4 0 1 2 3"]).replace(
        "element vertex",
        "obj_info x\nelement camera 2\nproperty float f\nproperty list uchar int ids\nelement vertex",
    )
    found = read(tmp_path, text.replace("end_header\n", "end_header\n1.5 2 7 8\n2.5 0\n"))
    np.testing.assert_allclose(found.corners, [[0, 0, 0], [1, 1, 0]])


@pytest.mark.parametrize("end", ["\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_ends_and_marks_of_other_systems(tmp_path: Path, end: str, mark: bytes) -> None:
    text = ply(SQUARE, ["4 0 1 2 3"], comment="grün").replace("\n", end)
    found = read(tmp_path, mark + text.encode("latin-1"))
    np.testing.assert_allclose(found.corners, [[0, 0, 0], [1, 1, 0]])


def test_a_binary_body_after_a_header_of_another_system(tmp_path: Path) -> None:
    header, body = packed("<", SQUARE, ["4 0 1 2 3"]).split(b"end_header\n")
    found = read(tmp_path, (header + b"end_header\n").replace(b"\n", b"\r\n") + body)
    np.testing.assert_allclose(found.corners, [[0, 0, 0], [1, 1, 0]])


GOOD = ply(SQUARE, ["4 0 1 2 3"])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("", "no geometry in the file: it is empty"),
        ("solid", "not a PLY file"),
        ("ply\nformat ascii 1.0\nelement vertex 3\n", "header without an end"),
        (GOOD.replace("ascii", "morse"), "a PLY header with 'format morse 1.0'"),
        (GOOD.replace("element face 1", "element face -1"), "a PLY header with 'element face -1'"),
        (GOOD.replace("float x", "quad x"), "a PLY header with 'property quad x'"),
        (GOOD.replace("format ascii 1.0\n", ""), "without a format"),
        (GOOD.replace("float x", "float w"), "without vertices of x, y, z"),
        (GOOD.replace("vertex_indices", "neighbors"), "no list of vertex_indices"),
        (
            GOOD.replace("vertex 4", "vertex 99999999999999999"),
            "less data than the header's 99999999999999999 of",
        ),
        (GOOD.replace("face 1", "face 3"), "less data than the header's 3 of face"),
        (GOOD.replace("4 0 1 2 3", "4 0 1 2 7"), "a vertex that is not there .of 4."),
        (GOOD.replace("4 0 1 2 3", "4 0 1 2 -1"), "a vertex that is not there .of 4."),
        (GOOD.replace("4 0 1 2 3", "-4 0 1 2 3"), "."),
        (GOOD.replace("4 0 1 2 3", "1e99 0 1 2 3"), "less data"),
        (GOOD.replace("4 0 1 2 3", "nan 0 1 2 3"), "."),
        (GOOD.replace("4 0 1 2 3", "4 0 1 2 3e99"), "a value of vertex_indices that its type i4"),
        (GOOD.replace("1 1 0", "1 one 0"), "expected a number, found 'one'"),
        (packed("<", SQUARE, ["4 0 1 2 3"])[:-1], "less data than the header's 1 of face"),
        (packed("<", SQUARE, [])[:-1], "less data than the header's 4 of vertex"),
    ],
)
def test_broken_files_are_rejected_with_their_reason(tmp_path: Path, data: str | bytes, reason: str) -> None:
    with pytest.raises(RejectedItem, match=reason):
        read(tmp_path, data)
