"""The OFF reader: headers of every kind, polygons of every shape, colors of vertices and of faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from align3d.errors import RejectedItem
from align3d.sources.surface import ColoredPoints, read_points

CORNERS = ["0 0 0", "1 0 0", "1 1 0", "0 1 0"]
GRAY = (102, 102, 102)


def off(header: str = "OFF\n", after_vertex: str = "", faces: tuple[str, ...] = ("4 0 1 2 3",)) -> str:
    vertices = "".join(f"{corner} {after_vertex}\n" for corner in CORNERS)
    return f"{header}4 {len(faces)} 0\n{vertices}" + "\n".join(faces) + "\n"


def read(path: Path, text: str | bytes) -> ColoredPoints:
    (path / "shape.off").write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_points(path / "shape.off", 300, np.random.default_rng(0))


def colors(found: ColoredPoints) -> set[tuple[int, ...]]:
    return {tuple(color) for color in found.colors.tolist()}


KINDS = {
    "plain": (off(), GRAY),
    "one line": (off("OFF "), GRAY),
    "glued": (off("OFF"), GRAY),
    "comments": (off("# made by hand\n\nOFF # here\n# and\n\n").replace("1 1 0", "1 1 0 # corner"), GRAY),
    "normals": (off("NOFF\n", "0 0 1"), GRAY),
    "texture coordinates": (off("STOFF\n", "0 0"), GRAY),
    "bytes": (off("COFF\n", "200 100 0 255"), (200, 100, 0)),
    "three bytes": (off("COFF\n", "200 100 0"), (200, 100, 0)),
    "floats": (off("COFF\n", "1.0 0.2 0.0 1.0"), (255, 51, 0)),
    "normals and colors": (off("CNOFF\n", "0 0 1 200 100 0 255"), (200, 100, 0)),
    "all": (off("STCNOFF\n", "0 0 1 200 100 0 255 0.5 0.5"), (200, 100, 0)),
    "faces": (off(faces=("4 0 1 2 3 200 100 0",)), (200, 100, 0)),
    "faces with alpha": (off(faces=("4 0 1 2 3 200 100 0 255",)), (200, 100, 0)),
    "faces of floats": (off(faces=("4 0 1 2 3  1.0 0.2 0",)), (255, 51, 0)),
    "vertices before faces": (off("COFF\n", "200 100 0 255", ("4 0 1 2 3 1 2 3",)), (200, 100, 0)),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(("mark", "end"), [("", "\n"), ("\ufeff", "\r\n")])
def test_headers_and_colors_of_every_kind(tmp_path: Path, name: str, mark: str, end: str) -> None:
    text, expected = KINDS[name]
    found = read(tmp_path, mark + text.replace("\n", end))
    assert colors(found) == {expected}
    assert found.lost == ()
    np.testing.assert_allclose(found.corners, [[0, 0, 0], [1, 1, 0]])


def test_each_face_has_its_color(tmp_path: Path) -> None:
    found = read(tmp_path, off(faces=("3 0 1 2 255 0 0", "3 0 2 3")))
    below = found.points[:, 0] > found.points[:, 1]
    assert (found.colors[below] == [255, 0, 0]).all()
    assert (found.colors[~below] == GRAY).all()


def test_colors_of_vertices_are_blended(tmp_path: Path) -> None:
    black_at_0 = (
        off("COFF\n", "250 0 0").replace("\n0 0 0 250", "\n0 0 0 0").replace("\n0 1 0 250", "\n0 1 0 0")
    )
    found = read(tmp_path, black_at_0)
    np.testing.assert_allclose(found.colors[:, 0], found.points[:, 0] * 250, atol=0.51)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (off(faces=("4 0 1 2 3 7",)), "colors of faces by their number in a color map are not read"),
        (off(faces=("4 0 1 2 3 7 8",)), "colors of faces of 2 or more than 4 numbers are not read"),
        (off(faces=("4 0 1 2 3 7 8 -1",)), "colors of faces: a color of -1"),
        (off("COFF\n", "7 8 99999"), "colors of vertices: a color of 99999"),
        (off(after_vertex="7 8 9"), "numbers after the vertices are not read"),
    ],
)
def test_colors_that_cannot_be_had_are_told(tmp_path: Path, text: str, reason: str) -> None:
    found = read(tmp_path, text)
    assert len(found.lost) == 1
    assert found.lost[0].startswith(reason)
    assert colors(found) == {GRAY}


def test_concave_polygons_are_not_filled(tmp_path: Path) -> None:
    found = read(tmp_path, "OFF\n5 1 0\n0 0 0\n4 0 0\n4 4 0\n2 1 0\n0 4 0\n5 1 2 3 4 0 255 0 0\n")
    x, y = found.points[:, 0], found.points[:, 1]
    assert not (y > 1 + 1.5 * np.abs(x - 2) + 1e-9).any()
    assert colors(found) == {(255, 0, 0)}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not an OFF file"),
        ("OOF\n", "not an OFF file"),
        ("OFF\n", "without numbers of vertices and faces"),
        ("OFF BINARY\n\0\0\0\4", "binary OFF is not read"),
        ("4OFF\n1 1 0\n", "4OFF of more than three dimensions"),
        ("OFF\n3 1 0\n0 0 0\n1 0 0\n", "2 lines for 3 vertices and 1 faces: truncated"),
        ("OFF\n1e300 1 0\n0 0 0\n1 0 0\n", "truncated"),
        ("OFF\n-1 1 0\n0 0 0\n1 0 0\n", "-1 vertices and 1 faces"),
        ("OFF\nnan 1 0\n0 0 0\n1 0 0\n", "nan vertices"),
        (off().replace("1 1 0", "1 1"), "a vertex of 2 numbers, expected at least 3"),
        (off("COFF\n"), "a vertex of 3 numbers, expected at least 6"),
        (off(faces=("5 0 1 2 3",)), "a face of more corners than its line has"),
        (off(faces=("nan 0 1 2 3",)), "a face of more corners than its line has"),
        (off(faces=("4 0 1 2 4",)), "a vertex that is not there .of 4."),
        (off(faces=("4 0 1 2 2.5",)), "a vertex that is not there .of 4."),
        (off(faces=("2 0 1",)), "mesh without faces"),
        (off(faces=()), "mesh without faces"),
        (off().replace("1 1 0", "1 x 0"), "expected a number, found 'x'"),
    ],
)
def test_broken_files_are_rejected_with_their_reason(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(RejectedItem, match=reason):
        read(tmp_path, text)
