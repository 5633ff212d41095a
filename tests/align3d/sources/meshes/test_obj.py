"""The OBJ reader: parts by objects, groups and materials, colors of every kind, text as people have it."""

from __future__ import annotations

import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from align3d.errors import RejectedItem
from align3d.sources.surface import ColoredPoints, read_points

P = 300
RED, GREEN = (250, 0, 0), (0, 200, 0)


def square(x: float, first: int) -> tuple[str, str]:
    """Vertices and the face of a unit square at x; its corners are numbered from ``first``."""
    vertices = "".join(f"v {x + dx} {dy} 0\n" for dx, dy in ((0, 0), (1, 0), (1, 1), (0, 1)))
    return vertices, f"f {first} {first + 1} {first + 2} {first + 3}\n"


(V1, F1), (V2, F2), (V3, F3) = square(0, 1), square(5, 5), square(10, 9)
OAK_STEEL = "newmtl oak\nKd .6 .4 .2\nnewmtl steel\nKd .5 .5 .5\n"
UV = "vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
TEXTURED = f"mtllib a.mtl\n{V1}{UV}usemtl a\nf 1/1 2/2 3/3 4/4\n"


def read(path: Path, text: str | bytes, **files: str | bytes) -> ColoredPoints:
    """Read an OBJ; further files by their name, in which _ stands for the dot."""
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (path / name.replace("_", ".")).write_bytes(data)
    (path / "shape.obj").write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_points(path / "shape.obj", P, np.random.default_rng(0), root=path)


def labels(found: ColoredPoints) -> list[str | None]:
    """The part of each of the three squares; a square of several parts fails."""
    square_of = np.digitize(found.points[:, 0], [3.0, 8.0])
    names = []
    for number in range(3):
        (label,) = set(found.part[square_of == number].tolist())
        names.append(found.part_names[label] if label >= 0 else None)
    return names


def colors(found: ColoredPoints) -> set[tuple[int, ...]]:
    return {tuple(color) for color in found.colors.tolist()}


SEATS = ["seat", "back", "legs"]
PARTS = {
    "objects": (f"o seat\n{V1}{F1}o back\n{V2}{F2}o legs\n{V3}{F3}", SEATS),
    "groups": (f"g seat\n{V1}{F1}g back\n{V2}{F2}g legs\n{V3}{F3}", SEATS),
    "objects of one material": (
        f"mtllib m.mtl\no seat\n{V1}usemtl oak\n{F1}o back\n{V2}usemtl oak\n{F2}o legs\n{V3}usemtl oak\n{F3}",
        SEATS,
    ),
    "objects of two materials": (
        f"mtllib m.mtl\no seat\n{V1}usemtl oak\n{F1}o back\n{V2}{F2}o legs\n{V3}usemtl steel\n{F3}",
        SEATS,
    ),
    "a missing library": (
        f"mtllib gone.mtl\no seat\n{V1}usemtl a\n{F1}o back\n{V2}usemtl a\n{F2}o legs\n{V3}usemtl b\n{F3}",
        SEATS,
    ),
    "vertices first": (f"{V1}{V2}{V3}o seat\n{F1}o back\n{F2}o legs\n{F3}", SEATS),
    "groups that divide an object": (f"o Chair\n{V1}{V2}{V3}g seat\n{F1}g back\n{F2}g legs\n{F3}", SEATS),
    "a group in each object": (f"o seat\n{V1}g g1\n{F1}o back\n{V2}g g2\n{F2}o legs\n{V3}g g3\n{F3}", SEATS),
    "a group that goes on": (f"g seat\no seat\n{V1}{F1}o back\n{V2}{F2}o legs\n{V3}{F3}", SEATS),
    "names with blanks": (
        f"o front leg\n{V1}{V2}{V3}{F1}o back  rest \n{F2}o x\n{F3}",
        ["front leg", "back  rest", "x"],
    ),
    "one object, materials": (
        f"mtllib m.mtl\no Chair\n{V1}{V2}{V3}usemtl oak\n{F1}{F2}usemtl steel\n{F3}",
        ["oak", "oak", "steel"],
    ),
    "materials without a library": (
        f"{V1}{V2}{V3}usemtl oak\n{F1}{F2}usemtl steel\n{F3}",
        ["oak", "oak", "steel"],
    ),
    "one object": (f"o chair\n{V1}{V2}{V3}{F1}{F2}{F3}", ["chair"] * 3),
    "names that say nothing": (f"g default\n{V1}{V2}{V3}{F1}g Mesh_1\n{F2}o object.002\n{F3}", [None] * 3),
    "some named": (f"{V1}{V2}{V3}{F1}o back\n{F2}{F3}", [None, "back", "back"]),
}


@pytest.mark.parametrize("name", PARTS)
def test_objects_and_groups_are_parts(tmp_path: Path, name: str) -> None:
    text, expected = PARTS[name]
    found = read(tmp_path, text, m_mtl=OAK_STEEL)
    assert labels(found) == expected
    assert set(found.part_names) == set(expected) - {None}


def test_materials_color_objects_without_being_their_parts(tmp_path: Path) -> None:
    found = read(tmp_path, PARTS["objects of two materials"][0], m_mtl=OAK_STEEL)
    legs = found.part == found.part_names.index("legs")
    assert (found.colors[legs] == 128).all()
    assert (found.colors[~legs] == [153, 102, 51]).all()
    assert found.lost == ()


def test_a_missing_library_is_told(tmp_path: Path) -> None:
    found = read(tmp_path, PARTS["a missing library"][0])
    assert found.lost == ("material library: no file 'gone.mtl'",)
    assert colors(found) == {(102, 102, 102)}


def test_a_material_that_no_library_has_is_told(tmp_path: Path) -> None:
    found = read(tmp_path, f"mtllib m.mtl\n{V1}usemtl pine\n{F1}", m_mtl=OAK_STEEL)
    assert found.lost == ("material 'pine' is in no material library",)


MAPS = {
    "plain": "map_Kd wood.png",
    "backslash": "map_Kd tex dir\\my wood.png",
    "blanks": "map_Kd   tex dir/my wood.png  ",
    "quotes": 'map_Kd "tex dir/my wood.png"',
    "options": "map_Kd -clamp on -s 1 1 1 -o 0 0 0 -bm 1.0 -mm 0 1 wood.png",
    "an option of one number": "map_Kd -s 2 tex dir\\my wood.png",
    "letter case": "MAP_KD Tex Dir/My Wood.PNG",
    "tab": "map_Kd\twood.png",
    "another machine": "map_Kd C:\\Users\\ann\\wood.png",
    "dot": "map_Kd ./wood.png",
}


@pytest.mark.parametrize("name", MAPS)
def test_an_image_is_found_however_its_name_is_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "tex dir").mkdir()
    for file in ("wood.png", "tex dir/my wood.png"):
        Image.new("RGB", (2, 2), GREEN).save(tmp_path / file)
    found = read(tmp_path, TEXTURED, a_mtl=f"newmtl a\nKd 1 0 0\n{MAPS[name]}\n")
    assert colors(found) == {GREEN}
    assert found.lost == ()


def test_an_image_of_another_unicode_form_is_found(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2), GREEN).save(tmp_path / unicodedata.normalize("NFD", "grün.png"))
    found = read(tmp_path, TEXTURED, a_mtl="newmtl a\nmap_Kd grün.png\n")
    assert colors(found) == {GREEN}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gone.png", "map_Kd: no file 'gone.png'"),
        ("../secret.png", "map_Kd: '../secret.png' leaves the root"),
        ("a.mtl", "map_Kd: 'a.mtl': not an image of a known format"),
        ("", "map_Kd: no file name"),
    ],
)
def test_an_image_that_cannot_be_had_is_told(tmp_path: Path, name: str, reason: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    Image.new("RGB", (2, 2), GREEN).save(tmp_path / "secret.png")
    found = read(root, TEXTURED, a_mtl=f"newmtl a\nKd 1 0 0\nmap_Kd {name}\n")
    assert found.lost == (reason,)
    assert colors(found) == {(255, 0, 0)}


def test_what_no_face_has_is_not_missed(tmp_path: Path) -> None:
    library = "newmtl other\nKd spectral x\nmap_Kd gone.png\nnewmtl a\nKd 0 1 0\n"
    found = read(tmp_path, TEXTURED, a_mtl=library)
    assert found.lost == ()
    assert colors(found) == {(0, 255, 0)}


def test_scale_and_offset_of_an_image(tmp_path: Path) -> None:
    image = np.zeros((1, 4, 3), dtype=np.uint8)
    image[0, :, 0] = [10, 20, 30, 40]
    Image.fromarray(image).save(tmp_path / "strip.png")
    found = read(tmp_path, TEXTURED, a_mtl="newmtl a\nmap_Kd -s 0.25 1 1 -o 0.5 0 strip.png\n")
    assert colors(found) == {(30, 0, 0)}
    found = read(tmp_path, TEXTURED, a_mtl="newmtl a\nmap_Kd -clamp on -o 1 strip.png\n")
    assert colors(found) == {(40, 0, 0)}
    found = read(tmp_path, TEXTURED, a_mtl="newmtl a\nmap_Kd -s 2 1 strip.png\n")
    x = found.points[:, 0]
    expected = 10 * (1 + np.floor(x * 8) % 4)
    assert (found.colors[:, 0] == expected).all()


def test_an_image_on_some_faces_alone(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2), GREEN).save(tmp_path / "wood.png")
    found = read(tmp_path, TEXTURED + V2 + F2, a_mtl="newmtl a\nKd 1 0 0\nmap_Kd wood.png\n")
    right = found.points[:, 0] > 3
    assert (found.colors[right] == [255, 0, 0]).all()
    assert (found.colors[~right] == GREEN).all()
    assert found.lost == ("material 'a': faces without texture coordinates have its Kd",)


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        *[("latin-1", "grüner Stuhl"), ("gbk", "椅子"), ("gbk", "发动机"), ("cp1251", "ножка")],
        *[("cp1251", "ДВЕРЬ"), ("cp1252", "Ärmel"), ("big5", "椅子"), ("big5", "變速箱")],
        *[("shift_jis", "背もたれ"), ("shift_jis", "左前輪"), ("euc_kr", "의자"), ("euc_kr", "손잡이")],
    ],
)
def test_names_in_older_encodings(tmp_path: Path, encoding: str, name: str) -> None:
    text = f"# {name}\nmtllib a.mtl\no {name}\n{V1}usemtl {name}\n{F1}o b\n{V2}{F2}"
    library = f"# {name}\nnewmtl {name}\nKd 0 1 0\n"
    found = read(tmp_path, text.encode(encoding), a_mtl=library.encode(encoding))
    assert found.part_names == (name, "b")
    assert colors(found) == {(0, 255, 0)}
    found = read(tmp_path, text.encode("utf-8"), a_mtl=library.encode(encoding))
    assert colors(found) == {(0, 255, 0)}


def test_names_of_another_unicode_form_are_the_same(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "grün")
    found = read(tmp_path, f"mtllib a.mtl\nusemtl {decomposed}\n{V1}{F1}", a_mtl="newmtl grün\nKd 0 1 0\n")
    assert found.part_names == ("grün",)
    assert colors(found) == {(0, 255, 0)}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks(tmp_path: Path, encoding: str) -> None:
    text = f"{V1}mtllib a.mtl\nusemtl grün\n{F1}"
    found = read(tmp_path, text.encode(encoding), a_mtl="newmtl grün\nKd 0 1 0\n".encode(encoding))
    assert colors(found) == {(0, 255, 0)}
    np.testing.assert_allclose(found.corners, [[0, 0, 0], [1, 1, 0]])


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_line_ends_of_other_systems(tmp_path: Path, end: str) -> None:
    assert labels(read(tmp_path, PARTS["objects"][0].replace("\n", end))) == SEATS


def test_legal_text_of_odd_looks(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "# comment\n\n  v  0 0 0 # first\nv\t1 0 0 1.0\nv 1 1\\\n 0\nv 0 1 0\nvn 0 0 1\ns off\nvt 0\n"
        "f -4//-1 -3//-1 \\\n -2//1\n\tf 1/ 3/1/1 4 # last\nl 1 2\ng\nf 1 2",
    )
    np.testing.assert_allclose(found.corners, [[0, 0, 0], [1, 1, 0]])
    x, y = found.points[:, 0], found.points[:, 1]
    assert 0.3 < (x > y).mean() < 0.7


def test_negative_indices_count_from_their_line(tmp_path: Path) -> None:
    face = "f -4 -3 -2 -1\n"
    found = read(tmp_path, f"o seat\n{V1}{face}o back\n{V2}{face}o legs\n{V3}{face}")
    assert labels(found) == SEATS


@pytest.mark.parametrize(
    ("vertex", "expected"),
    [("1 0 0", (255, 0, 0)), ("200 100 0", (200, 100, 0)), ("0.2 0.4 1 1", (51, 102, 255))],
)
def test_colors_of_vertices(tmp_path: Path, vertex: str, expected: tuple[int, int, int]) -> None:
    found = read(tmp_path, V1.replace(" 0\n", f" 0 {vertex}\n") + F1)
    assert colors(found) == {expected}
    assert found.lost == ()


def test_colors_of_vertices_go_before_a_material_where_they_differ(tmp_path: Path) -> None:
    text = "mtllib a.mtl\nusemtl a\n" + V1.replace(" 0\n", " 0 1 1 1\n") + F1
    assert colors(read(tmp_path, text, a_mtl="newmtl a\nKd 0 1 0\n")) == {(0, 255, 0)}
    assert colors(read(tmp_path, text, a_mtl="newmtl a\n")) == {(255, 255, 255)}
    found = read(tmp_path, text.replace("1 1 1\n", "1 0 1\n", 1), a_mtl="newmtl a\nKd 0 1 0\n")
    assert (found.colors[:, [0, 2]] == 255).all()


def test_light_that_a_material_emits(tmp_path: Path) -> None:
    text = f"mtllib a.mtl\nusemtl a\n{V1}{F1}"
    for library, expected in (
        ("Kd 0 0 0\nKe 1 0 0", (255, 0, 0)),
        ("Kd 0 0.2 1\nKe 0.2 0.2 1", (51, 102, 255)),
        ("Kd 0 0 0\nKe 10 0 0", (255, 0, 0)),
        ("Ke 0 0 0", (102, 102, 102)),
    ):
        assert colors(read(tmp_path, text, a_mtl=f"newmtl a\n{library}\n")) == {expected}


def test_painted_vertices(tmp_path: Path) -> None:
    assert colors(read(tmp_path, f"{V1}#MRGB {'ff0a141e' * 2}\n#MRGB {'ff0a141e' * 2}\n{F1}")) == {
        (10, 20, 30)
    }
    found = read(tmp_path, f"{V1}#MRGB {'ff0a141e' * 3}\n{F1}")
    assert found.lost == ("#MRGB: 3 colors for 4 vertices",)


def test_colors_that_are_none_are_told(tmp_path: Path) -> None:
    found = read(tmp_path, V1.replace(" 0\n", " 0 -1 0 0\n") + F1)
    assert found.lost[0].startswith("colors of vertices: a color of -1")
    found = read(tmp_path, V1.replace(" 0\n", " 0 1 0 0\n", 1) + F1)
    assert found.lost == ("colors of 1 of 4 vertices: expected all or none",)
    assert colors(found) == {(102, 102, 102)}
    found = read(tmp_path, f"mtllib a.mtl\nusemtl a\n{V1}{F1}", a_mtl="newmtl a\nKd spectral file.rfl\n")
    assert found.lost == ("Kd 'spectral file.rfl': expected three numbers in 0 to 1",)


def test_concave_polygons_are_not_filled(tmp_path: Path) -> None:
    ell = "v 0 0 0\nv 4 0 0\nv 4 1 0\nv 1 1 0\nv 1 4 0\nv 0 4 0\nf 3 4 5 6 1 2\n"
    points = read(tmp_path, ell).points
    assert not ((points[:, 0] > 1 + 1e-9) & (points[:, 1] > 1 + 1e-9)).any()
    found = read(tmp_path, "v 0 0 0\nv 4 4 0\nv 4 0 0\nv 0 4 0\nf 1 2 3 4\n")
    assert (found.lost, found.notes) == ((), ("1 polygon crosses itself: filled by a guess",))


def test_points_without_faces_are_a_cloud_where_they_are_meant(tmp_path: Path) -> None:
    colored = "v 0 0 0 1 0 0\nv 1 0 0 1 0 0\n"
    assert colors(read(tmp_path, colored + "p 1 2\n")) == {(255, 0, 0)}
    with pytest.raises(RejectedItem, match="mesh without faces"):
        read(tmp_path, colored)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("v 0 0\nf 1 1 1\n", "less than three coordinates"),
        (V1 + "f 1 2 9\n", "a vertex that is not there .of 4."),
        (V1 + "f 1 2 0\n", "a vertex that is not there"),
        (V1 + "f 1 2 -5\n", "a vertex that is not there"),
        (V1 + "f 1 2 99999999999999999999999\n", "a vertex that is not there"),
        (V1 + "f 1/1 2/1 3/1\n", "a texture coordinate that is not there"),
        (V1 + "f 1 2 3.5\n", "expected a whole number, found '3.5'"),
        (V1 + "f 1 2 x\n", "expected a whole number, found 'x'"),
        (V1 + "f 1/1/1/1 2 3\n", "more than three numbers"),
        (V1 + "f /1 2 3\n", "."),
        (V1 + "f 1 2\n", "less than three corners"),
        ("v 0 zero 0\n", "expected a number, found 'zero'"),
        ("v 0 1.0.5 0\n", "expected a number, found '1.0.5'"),
        ("v 0 nan 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "NaN"),
        (V1 + "cstype bspline\nsurf 0 1 0 1 1 2\n", "the statement surf is not read"),
        ("", "mesh without faces"),
    ],
)
def test_broken_files_are_rejected_with_their_reason(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(RejectedItem, match=reason):
        read(tmp_path, text)


def test_large_files_are_read_in_bulk(tmp_path: Path) -> None:
    side = 224  # 100,000 triangles
    x, y = np.meshgrid(np.arange(side), np.arange(side))
    corner = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).ravel() + 1
    vertices = "".join(f"v {a}.5 {b}.25 0\n" for a, b in zip(x.ravel(), y.ravel(), strict=True))
    faces = "".join(f"f {k}//1 {k + 1}//1 {k + side + 1}//1 {k + side}//1\n" for k in corner)
    begun = time.process_time()
    found = read(tmp_path, f"{vertices}vn 0 0 1\n{faces}")
    assert time.process_time() - begun < 2.0  # some 0.2 s; seconds where each line takes Python's time
    np.testing.assert_allclose(found.corners[1], [side - 0.5, side - 0.75, 0])
