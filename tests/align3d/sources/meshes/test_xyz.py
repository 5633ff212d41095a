"""Plain clouds: which columns are colors, and text as instruments and people write it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from align3d.errors import RejectedItem
from align3d.sources.meshes.scene import CloudPart, Scene
from align3d.sources.meshes.scene_readers import read_scene

N = 60
RNG = np.random.default_rng(0)
POINTS = RNG.random((N, 3)).round(3)
NORMALS = RNG.normal(size=(N, 3))
NORMALS /= np.linalg.norm(NORMALS, axis=1)[:, None]
RGB = RNG.integers(0, 256, (N, 3)).astype(float)
UNIT = RNG.random((N, 3)).round(4)
OPAQUE = np.full((N, 1), 255.0)
INTENSITY = RNG.normal(size=(N, 1)) * 1000
PURE = np.eye(3)[RNG.integers(0, 3, N)]


def rows(*columns: np.ndarray, separator: str = " ") -> str:
    table = np.concatenate([POINTS, *columns], axis=1)
    return "".join(separator.join(f"{value:.6g}" for value in row) + "\n" for row in table)


def read(path: Path, text: str | bytes, name: str = "cloud.xyz") -> Scene:
    (path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_scene(path / name, path)


def cloud(scene: Scene) -> CloudPart:
    (part,) = scene.parts
    assert isinstance(part, CloudPart)
    np.testing.assert_allclose(part.points, POINTS)
    return part


COLORED = {
    "bytes": (rows(RGB), RGB),
    "0 to 1": (rows(UNIT), UNIT * 255),
    "bytes and opacity": (rows(RGB, OPAQUE), RGB),
    "0 to 1 and opacity": (rows(UNIT, OPAQUE / 255), UNIT * 255),
    "intensity and bytes": (rows(INTENSITY, RGB), RGB),
    "bytes and normals": (rows(RGB, NORMALS), RGB),
    "normals and bytes": (rows(NORMALS, RGB), RGB),
    "normals and 0 to 1": (rows(NORMALS, UNIT), UNIT * 255),
    "bytes, opacity, normals": (rows(RGB, OPAQUE, NORMALS), RGB),
    "normals, bytes, opacity": (rows(NORMALS, RGB, OPAQUE), RGB),
    "intensity, bytes, normals": (rows(INTENSITY, RGB, NORMALS), RGB),
    "16 bits": (rows(RGB * 257), RGB),
    "dark, few": (
        rows(np.where(np.arange(N)[:, None] < 3, RGB, 0.0)),
        np.where(np.arange(N)[:, None] < 3, RGB, 0),
    ),
    "named": ("# x y z r g b\n" + rows(PURE), PURE * 255),
    "named in any order": (
        "x,y,z,label,blue,green,red\n" + rows(RGB[:, :1], RGB, separator=","),
        RGB[:, ::-1],
    ),
    "named by CloudCompare": (f"//X Y Z R G B Nx Ny Nz\n{N}\n" + rows(RGB, NORMALS), RGB),
}
UNCOLORED = {
    "points alone": rows(),
    "normals": rows(NORMALS),
    "normals to one side": rows(np.abs(NORMALS)),
    "normals of a box": rows(PURE * np.where(np.arange(N) % 2, 1.0, -1.0)[:, None]),
    "normals, some missing": rows(NORMALS * (np.arange(N) % 3 > 0)[:, None]),
    "normals and curvature": rows(NORMALS, UNIT[:, :1]),
    "named normals": "x y z nx ny nz\n" + rows(PURE),
    "named intensity": "# x y z intensity\n" + rows(INTENSITY),
}
DOUBTFUL = {
    "pure colors or a box": (
        rows(PURE),
        "columns 4 to 6: neither colors nor normals for sure; name the columns",
    ),
    "black or no normals": (rows(0 * PURE), "columns 4 to 6: neither colors nor normals for sure"),
    "long normals": (rows(7 * NORMALS), "columns 4 to 6: neither colors nor normals for sure"),
    "one number": (rows(INTENSITY), "column 4: neither colors nor normals for sure"),
    "four bytes": (rows(RGB, RGB[:, :1]), "columns 4 to 7: colors of one kind or another"),
    "six bytes": (rows(RGB, RGB), "columns 4 to 9: neither colors nor normals for sure"),
    "eleven": (rows(RGB, NORMALS, UNIT[:, :2]), "columns 4 to 11: neither"),
}


@pytest.mark.parametrize("name", COLORED)
def test_colors_are_found_by_names_or_values(tmp_path: Path, name: str) -> None:
    text, expected = COLORED[name]
    scene = read(tmp_path, text)
    assert scene.lost == ()
    colors = cloud(scene).colors
    assert colors is not None
    np.testing.assert_allclose(colors, expected, atol=0.51)


@pytest.mark.parametrize("name", UNCOLORED)
def test_normals_are_no_colors(tmp_path: Path, name: str) -> None:
    scene = read(tmp_path, UNCOLORED[name])
    assert scene.lost == ()
    assert cloud(scene).colors is None


@pytest.mark.parametrize("name", DOUBTFUL)
def test_what_is_not_clear_is_no_color_and_told(tmp_path: Path, name: str) -> None:
    text, reason = DOUBTFUL[name]
    scene = read(tmp_path, text)
    assert cloud(scene).colors is None
    assert len(scene.lost) == 1
    assert scene.lost[0].startswith(reason)


def test_the_suffix_decides(tmp_path: Path) -> None:
    assert cloud(read(tmp_path, rows(PURE), "a.xyzn")).colors is None
    np.testing.assert_array_equal(cloud(read(tmp_path, rows(PURE), "a.xyzrgb")).colors, PURE * 255)
    scanned = f"{N}\n" + rows(RGB[:, :1], RGB)
    np.testing.assert_array_equal(cloud(read(tmp_path, scanned, "a.pts")).colors, RGB)
    assert read(tmp_path, f"{N}\n" + rows(INTENSITY), "b.pts").lost == ()
    scene = read(tmp_path, rows(-RGB), "b.xyzrgb")
    assert scene.lost[0].startswith("columns 4 to 6: a color of -")


@pytest.mark.parametrize(
    "text",
    [
        rows(RGB, separator=","),
        rows(RGB, separator=", "),
        rows(RGB, separator="; "),
        rows(RGB, separator="\t"),
        rows(RGB).replace("\n", "\r\n"),
        rows(RGB).replace("\n", "\r"),
        rows(RGB).replace(".", ","),
        rows(RGB, separator=";").replace(".", ","),
        "\ufeff" + rows(RGB),
        "\n# café\n\n" + rows(RGB) + "\n\n",
        "  " + rows(RGB).replace("\n", "  # note\n  "),
    ],
)
def test_separators_line_ends_and_comments(tmp_path: Path, text: str) -> None:
    np.testing.assert_array_equal(cloud(read(tmp_path, text)).colors, RGB)
    np.testing.assert_array_equal(cloud(read(tmp_path, text.encode("utf-16"))).colors, RGB)
    np.testing.assert_array_equal(cloud(read(tmp_path, text.lstrip("\ufeff").encode("latin-1"))).colors, RGB)


def test_coordinates_by_name(tmp_path: Path) -> None:
    table = np.concatenate([RGB, POINTS], axis=1)
    text = "r g b x y z\n" + "".join(" ".join(f"{value:g}" for value in row) + "\n" for row in table)
    np.testing.assert_array_equal(cloud(read(tmp_path, text)).colors, RGB)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is empty"),
        (" \n \n", "it is empty"),
        ("# only\n# words\n", "not a list of points"),
        ("3\nwater\nO 0 0 0\nH 0 0 1\nH 1 0 0\n", "not a list of points"),
        ("1 2\n3 4\n", "points of 2 numbers"),
        ("1 2 3\n1 2\n", "a point of 2 numbers where others have 3"),
        ("1 2 3\n1 2 x\n", "expected a number, found 'x'"),
        ("9\n1 2 3\n1 2 4\n", "2 points where the first line says 9: truncated"),
        ("\0" * 50, "."),
    ],
)
def test_broken_files_are_rejected_with_their_reason(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(RejectedItem, match=reason):
        read(tmp_path, text)
