"""The VRML reader on small files whose geometry is known, and on broken ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from align3d.errors import RejectedItem
from align3d.sources.surface import read_points
from align3d.sources.vrml import mesh_from_vrml, read_vrml

HEAD = "#VRML V2.0 utf8\n"
RED = "appearance Appearance { material DEF RED-01 Material { diffuseColor 1 0 0 } }"
COORD = "coord Coordinate { point [0 0 0, 1 0 0, 1 1 0, 0 1 0] }"
SQUARE = f"geometry IndexedFaceSet {{ coordIndex [0,1,2,3,-1] {COORD} }}"


def read(body: str, unit: float = 1.0):
    return mesh_from_vrml(HEAD + body, unit)


def test_square_is_two_triangles_in_meters() -> None:
    mesh = mesh_from_vrml(HEAD + f"Shape {{ {RED} {SQUARE} }}")
    np.testing.assert_allclose(mesh.vertices.max(axis=0), [0.00254, 0.00254, 0.0])
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert mesh.material_names == ("RED-01",)
    assert mesh.material_colors.tolist() == [[255, 0, 0]]
    assert mesh.material.tolist() == [0, 0]


def test_materials_by_name_over_shapes() -> None:
    mesh = read(
        f"Shape {{ {RED} }}  # defined without geometry\n"
        "Shape { appearance Appearance { material DEF GREY Material { diffuseColor .5,.5,.5 } } }\n"
        f"Shape {{ {SQUARE} appearance Appearance{{material USE GREY }} }}"
        f"Shape {{ {SQUARE} appearance Appearance{{material USE RED-01 }} }}"
    )
    assert [mesh.material_names[m] for m in mesh.material] == ["GREY", "GREY", "RED-01", "RED-01"]
    assert mesh.faces[2].tolist() == [4, 5, 6]
    assert mesh.material_colors[mesh.material[0]].tolist() == [128, 128, 128]


def test_materials_without_names_go_by_color() -> None:
    def shape(color: str) -> str:
        return (
            f"Shape {{ {SQUARE} appearance Appearance {{ material Material {{ diffuseColor {color} }} }} }}"
        )

    mesh = read(f"Shape {{ {RED} }}" + shape("0 1 0") + shape("0 0 1") + shape("0 1 0") + shape("1 0 0"))
    names = [mesh.material_names[m] for m in mesh.material[::2]]
    assert names == ["material-0", "material-1", "material-0", "RED-01"]


def test_one_name_with_two_colors_is_two_materials() -> None:
    blue = RED.replace("1 0 0", "0 0 1")
    mesh = read(f"Shape {{ {RED} {SQUARE} }} Shape {{ {blue} {SQUARE} }}")
    assert mesh.material_colors[mesh.material].tolist() == [[255, 0, 0]] * 2 + [[0, 0, 255]] * 2


def test_nested_transforms() -> None:
    half_turn_about_z = "rotation 0 0 1 1.5707963267948966"
    mesh = read(
        f"Transform {{ translation 10 0 0 children [ Group {{ children Transform {{ {half_turn_about_z} "
        f"scale 2 1 1 children [ Shape {{ {SQUARE} }} ] }} }} ] }} Shape {{ {SQUARE} }}"
    )
    # Scaled to 2 x 1, turned a quarter (x -> y, y -> -x), moved by 10.
    np.testing.assert_allclose(mesh.vertices[:4], [[10, 0, 0], [10, 2, 0], [9, 2, 0], [9, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(mesh.vertices[4:], [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])


def test_center_and_scale_orientation() -> None:
    mesh = read(
        "Transform { center 1 1 0 scale 2 1 1 scaleOrientation 0 0 1 1.5707963267948966 "
        f"children Shape {{ {SQUARE} }} }}"
    )
    # Scaled along the turned x axis, that is y, about (1, 1).
    np.testing.assert_allclose(mesh.vertices, [[0, -1, 0], [1, -1, 0], [1, 1, 0], [0, 1, 0]], atol=1e-12)


def test_used_nodes_switches_and_polygons_of_any_size() -> None:
    pentagon = "geometry IndexedFaceSet { coord USE C coordIndex [0 1 2 3 4 -1 0 1 2] }"
    points = "coord DEF C Coordinate { point [0 0 0 2 0 0 2 1 0 1 2 0 0 1 0] }"
    mesh = read(
        f"Switch {{ whichChoice 1 choice [ Shape {{ {SQUARE} }} "
        f"DEF S Shape {{ geometry IndexedFaceSet {{ {points} coordIndex [0 1 2 3 -1] }} }} ] }}"
        f"Shape {{ {pentagon} }} Group {{ children [ USE S, USE S ] }}"
    )
    assert len(mesh.faces) == 2 + (3 + 1) + 2 + 2
    assert mesh.faces[2:6].tolist() == [[5, 6, 7], [5, 7, 8], [5, 8, 9], [5, 6, 7]]


def test_odd_but_legal_text() -> None:
    mesh = read(
        'WorldInfo { title "a # is no comment } here" info [ "x", "y" ] }\n'
        'NavigationInfo { type "ANY" headlight TRUE } Background { skyColor [0 0 0] }\n'
        f"Shape {{ geometry IndexedLineSet {{ {COORD} coordIndex [0 1 -1] }} }}\n"
        "Shape { # comment\n geometry IndexedFaceSet { solid FALSE ccw TRUE creaseAngle 0.5 "
        "colorPerVertex FALSE color Color { color [1 0 0, 0 1 0] } colorIndex [0]\n"
        "coordIndex [ # comment in a list\n 0 1 2 -1, -1 ] normal NULL "
        "coord Coordinate { point [ 0 0 0\n 1e0 0 0,\t.0 +1. 0 ] } } }"
    )
    assert mesh.faces.tolist() == [[0, 1, 2]]
    np.testing.assert_allclose(mesh.vertices[2], [0, 1, 0])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("Shape { geometry IndexedFaceSet { coordIndex [0, 1, 2", "truncated|expected|not read"),
        (f"Shape {{ {SQUARE}", "truncated"),
        ("Shape { appearance Appearance { material USE NOWHERE } }", "before its DEF"),
        ("Shape { geometry Box { size 1 1 1 } }", "geometry Box is not read"),
        ('Inline { url "other.wrl" }', "node Inline is not read"),
        ("PROTO Thing [ ] { }", "PROTO is not read"),
        ("Shape { }", "without faces"),
        (f"Shape {{ geometry IndexedFaceSet {{ {COORD} coordIndex [] }} }}", "without faces"),
        (f"Shape {{ geometry IndexedFaceSet {{ {COORD} coordIndex [0 1 9 -1] }} }}", "beyond its point list"),
        (f"Shape {{ geometry IndexedFaceSet {{ {COORD} coordIndex [0 1 -7] }} }}", "whole number from -1"),
        (f"Shape {{ geometry IndexedFaceSet {{ {COORD} coordIndex [0 1 -2] }} }}", "coordIndex of -2"),
        (f"Shape {{ geometry IndexedFaceSet {{ {COORD} coordIndex [0 1.5 2 -1] }} }}", "whole number"),
        (f"Shape {{ geometry IndexedFaceSet {{ {COORD} coordIndex [0 one 2 -1] }} }}", "not a number"),
        (f"Shape {{ {SQUARE.replace('1 1 0', '1 nan 0')} }}", "NaN"),
        (f"Shape {{ {SQUARE.replace('1 1 0', '1 1')} }}", "multiple of 3"),
        ("Shape { ]", "expected a field"),
        ("Group { children [ " * 150, "nested deeper"),
        ("Transform { scale 1 1 children [] }", "expected 3 numbers"),
    ],
)
def test_broken_files_are_rejected_with_their_reason(body: str, reason: str) -> None:
    with pytest.raises(RejectedItem, match=reason):
        read(body)


ELL = "coord Coordinate { point [4 1 0, 1 1 0, 1 4 0, 0 4 0, 0 0 0, 4 0 0] }"


@pytest.mark.parametrize("convex", ["convex FALSE ", "convex TRUE ", ""])
def test_concave_polygons_are_not_filled(convex: str) -> None:
    mesh = read(f"Shape {{ geometry IndexedFaceSet {{ {convex} {ELL} coordIndex [0 1 2 3 4 5] }} }}")
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces], 1, 0)
    assert np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2 == pytest.approx(7.0)
    middle = (a + b + c) / 3
    assert not ((middle[:, 0] > 1) & (middle[:, 1] > 1)).any()


PALETTE = "color Color { color [1 0 0, 0 1 0, 0 0 1, 1 1 1] }"
FOUR = COORD + " coordIndex [0 1 2 -1 0 2 3 -1]"
RED_GREEN_BLUE_WHITE = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]


def corner_colors(fields: str) -> list[list[tuple[float, ...]]]:
    """Colors of the corners of two triangles, after an uncolored shape and before another."""
    shape = f"Shape {{ {RED} {SQUARE} }}"
    mesh = read(f"{shape} Shape {{ geometry IndexedFaceSet {{ {PALETTE} {fields} }} }} {shape}")
    assert mesh.lost == ()
    assert mesh.corner_colors is not None
    for uncolored in (mesh.corner_colors[:2], mesh.corner_colors[4:]):
        assert (uncolored == [255, 0, 0]).all()
    return [[tuple(corner) for corner in triangle] for triangle in mesh.corner_colors[2:4].tolist()]


def test_colors_of_vertices_and_of_faces() -> None:
    red, green, blue, white = RED_GREEN_BLUE_WHITE
    assert corner_colors(FOUR) == [[red, green, blue], [red, blue, white]]
    chosen = corner_colors(FOUR + " colorPerVertex TRUE colorIndex [3 3 0 -1 1 1 2 -1]")
    assert chosen == [[white, white, red], [green, green, blue]]
    assert corner_colors(FOUR + " colorPerVertex FALSE") == [[red] * 3, [green] * 3]
    assert corner_colors(FOUR + " colorPerVertex FALSE colorIndex [3 1]") == [[white] * 3, [green] * 3]


def test_colors_are_blended_over_a_triangle() -> None:
    mesh = read(f"Shape {{ geometry IndexedFaceSet {{ {PALETTE} {FOUR} }} }}")
    blended = mesh.colors(np.array([0, 1]), np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]))
    assert blended.tolist() == [[128, 128, 0], [255, 255, 255]]


@pytest.mark.parametrize("fields", ["colorIndex [9 9 9 -1 9 9 9 -1]", "colorIndex [0 1]", "colorIndex [-1]"])
def test_colors_that_are_not_there_are_told(fields: str) -> None:
    mesh = read(f"Shape {{ {RED} geometry IndexedFaceSet {{ {PALETTE} {FOUR} {fields} }} }}")
    assert mesh.lost == ("a Color node without a color for each face or vertex is not read",)
    assert (mesh.colors(np.array([0]), np.array([[1.0, 0.0, 0.0]])) == [255, 0, 0]).all()


def test_textures_are_told() -> None:
    texture = 'texture ImageTexture { url "wood.png" }'
    mesh = read(
        f"Shape {{ {RED.replace('appearance Appearance {', 'appearance Appearance { ' + texture)} {SQUARE} }}"
    )
    assert mesh.lost == ("textures of VRML are not read, the material's color stands for them",)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(tmp_path: Path, encoding: str, end: str) -> None:
    text = HEAD + f"# a comment\nShape {{ {RED.replace('RED-01', 'grün')} {SQUARE} }}"
    (tmp_path / "a.wrl").write_bytes(text.replace("\n", end).encode(encoding))
    assert read_vrml(tmp_path / "a.wrl").material_names == ("grün",)


def test_a_scene_has_materials_as_parts(tmp_path: Path) -> None:
    plain = f"Shape {{ {SQUARE.replace('0 0 0', '0 0 9')} }}"
    colored = f"Shape {{ geometry IndexedFaceSet {{ {PALETTE} {FOUR} colorPerVertex FALSE }} }}"
    (tmp_path / "a.wrl").write_text(HEAD + f"Shape {{ {RED} {SQUARE} }} {plain}")
    found = read_points(tmp_path / "a.wrl", 200, np.random.default_rng(0))
    assert found.part_names == ("RED-01",)
    assert {tuple(color) for color in found.colors[found.part == 0].tolist()} == {(255, 0, 0)}
    assert {tuple(color) for color in found.colors[found.part == -1].tolist()} == {(204, 204, 204)}
    (tmp_path / "a.wrl").write_text(HEAD + colored)
    found = read_points(tmp_path / "a.wrl", 200, np.random.default_rng(0))
    assert {tuple(color) for color in found.colors.tolist()} == {(255, 0, 0), (0, 255, 0)}


def test_every_truncation_is_rejected_or_whole() -> None:
    text = HEAD + f"Shape {{ {RED} {SQUARE} }}\n"
    for end in range(len(text) - 2):
        with pytest.raises(RejectedItem):
            mesh_from_vrml(text[:end])


def test_other_files_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "binary.wrl").write_bytes(bytes(range(256)))
    (tmp_path / "empty.wrl").write_bytes(b"")
    for name, reason in (
        ("binary.wrl", "not VRML"),
        ("empty.wrl", "empty file"),
        ("none.wrl", "cannot be read"),
    ):
        with pytest.raises(RejectedItem, match=reason):
            read_vrml(tmp_path / name)
