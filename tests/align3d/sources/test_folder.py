"""The folder source: every format's colors and parts, every captions file, and bad input of each kind."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import trimesh
from PIL import Image

from align3d.build import main
from align3d.dataset import ShapeDataset
from align3d.errors import DataError, RejectedItem
from align3d.record import Record, check_record
from align3d.sources import make_source
from align3d.sources.meshes.trimesh_reader import _unit_m

P = 256


def captions(root: Path, *rows: str, header: str = "path,caption") -> None:
    (root / "captions.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def read(root: Path, path: str, **settings: object) -> Record:
    source = make_source("folder", root=root, **settings)
    (item,) = [item for item in source.items() if item.id == path]
    record = source.read(item, P, 0)
    check_record(record, P)
    return record


def rejection(root: Path, path: str, **settings: object) -> str:
    with pytest.raises(RejectedItem) as error:
        read(root, path, **settings)
    return error.value.reason


def textured_quad() -> trimesh.Trimesh:
    """A unit square whose left half is red and whose right half is blue, top half only slightly darker."""
    image = np.zeros((2, 2, 3), dtype=np.uint8)
    image[:, 0], image[:, 1] = (250, 0, 0), (0, 0, 250)
    image[0] //= 2  # the upper row of the image is the upper half of the square (v = 1)
    visual = trimesh.visual.TextureVisuals(
        uv=[[0, 0], [1, 0], [1, 1], [0, 1]],
        material=trimesh.visual.material.PBRMaterial(baseColorTexture=Image.fromarray(image)),
    )
    return trimesh.Trimesh(
        [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]], visual=visual, process=False
    )


def test_glb_texture_is_sampled_on_to_the_points(tmp_path: Path) -> None:
    textured_quad().export(tmp_path / "quad.glb")
    captions(tmp_path, "quad.glb,a square of two colours")
    record = read(tmp_path, "quad.glb")
    # glTF's y is up, so the square now stands in the x-z plane.
    np.testing.assert_allclose(record.size_m, [1, 0, 1], atol=1e-6)
    x, z = record.points[:, 0].astype(float), record.points[:, 2].astype(float)
    left, top = x < x.min() + 0.49 * np.ptp(x), z > z.min() + 0.51 * np.ptp(z)
    right, bottom = x > x.min() + 0.51 * np.ptp(x), z < z.min() + 0.49 * np.ptp(z)
    assert (record.colors[left & bottom] == [250, 0, 0]).all()
    assert (record.colors[right & bottom] == [0, 0, 250]).all()
    assert (record.colors[left & top] == [125, 0, 0]).all()


def test_glb_scene_is_flattened_with_names_as_parts(tmp_path: Path) -> None:
    scene = trimesh.Scene()
    lid = trimesh.creation.box([1, 1, 1])
    lid.visual = trimesh.visual.TextureVisuals(
        material=trimesh.visual.material.PBRMaterial(baseColorFactor=[0.0, 1.0, 0.0, 1.0])
    )
    body = trimesh.creation.box([1, 1, 1])
    body.visual.face_colors = [255, 128, 0, 255]
    scene.add_geometry(lid, geom_name="lid", transform=trimesh.transformations.translation_matrix([0, 5, 0]))
    scene.add_geometry(body, geom_name="body")
    scene.export(tmp_path / "jar.glb")
    captions(tmp_path, "jar.glb,a jar")
    record = read(tmp_path, "jar.glb")
    np.testing.assert_allclose(record.size_m, [1, 1, 6], rtol=1e-5)
    assert set(record.part_names) == {"lid", "body"}
    is_lid = record.part == record.part_names.index("lid")
    assert (is_lid == (record.points[:, 2] > 0)).all()
    assert (record.colors[is_lid] == [0, 255, 0]).all()
    assert (record.colors[~is_lid] == [255, 128, 0]).all()


def test_obj_materials_are_colors_and_parts(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/two.mtl").write_text("newmtl wood\nKd 1 0 0\nnewmtl steel\nKd 0 0 1\n")
    (tmp_path / "sub/two.obj").write_text(
        "mtllib two.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nusemtl wood\nf 1 2 3\nusemtl steel\nf 1 2 4\n"
    )
    captions(tmp_path, "sub/two.obj,two triangles,toys,CC0-1.0", header="path,caption,category,license")
    record = read(tmp_path, "sub/two.obj")
    assert (record.category, record.license) == ("toys", "CC0-1.0")
    wood = record.part == record.part_names.index("wood")
    assert (record.colors[wood] == [255, 0, 0]).all()
    assert (record.colors[~wood] == [0, 0, 255]).all()


def test_ply_cloud_keeps_its_colors(tmp_path: Path) -> None:
    points = np.random.default_rng(0).random((40, 3))
    colors = np.column_stack([(points * 255).astype(np.uint8), np.full(40, 255, np.uint8)])
    trimesh.PointCloud(points, colors=colors).export(tmp_path / "cloud.ply")
    captions(tmp_path, "cloud.ply,a cloud")
    record = read(tmp_path, "cloud.ply")
    assert {tuple(color) for color in record.colors} == {tuple(color) for color in colors[:, :3]}
    assert len(np.unique(record.points, axis=0)) == 40
    np.testing.assert_allclose(record.size_m, np.ptp(points, axis=0), rtol=1e-5)
    assert record.part_names == ()


def test_ply_vertex_colors_are_blended(tmp_path: Path) -> None:
    mesh = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]], process=False)
    mesh.visual.vertex_colors = [[0, 0, 0, 255], [200, 0, 0, 255], [0, 0, 0, 255]]
    mesh.export(tmp_path / "a.ply")
    captions(tmp_path, "a.ply,a triangle")
    record = read(tmp_path, "a.ply")
    x = record.points[:, 0].astype(float)
    assert np.corrcoef(x, record.colors[:, 0])[0, 1] > 0.999


@pytest.mark.parametrize("name", ["box.stl", "box.off"])
def test_formats_without_color_are_gray_without_parts(tmp_path: Path, name: str) -> None:
    trimesh.creation.box([1, 2, 3]).export(tmp_path / name)
    captions(tmp_path, f"{name},a box")
    record = read(tmp_path, name, unit_m=0.001)
    np.testing.assert_allclose(record.size_m, [0.001, 0.002, 0.003], rtol=1e-5)
    assert (record.colors == 102).all()
    assert (record.part == -1).all()


def test_up_of_the_row_then_of_the_setting(tmp_path: Path) -> None:
    trimesh.creation.box([1, 2, 3]).export(tmp_path / "a.stl")
    trimesh.creation.box([1, 2, 4]).export(tmp_path / "b.stl")
    captions(tmp_path, "a.stl,first,x", "b.stl,second,", header="path,caption,up")
    np.testing.assert_allclose(read(tmp_path, "a.stl", up="y").size_m, [2, 3, 1], rtol=1e-5)
    np.testing.assert_allclose(read(tmp_path, "b.stl", up="y").size_m, [1, 4, 2], rtol=1e-5)
    np.testing.assert_allclose(read(tmp_path, "b.stl").size_m, [1, 2, 4], rtol=1e-5)


def test_unit_of_the_row_then_of_the_format_then_of_the_setting(tmp_path: Path) -> None:
    box = trimesh.creation.box([1, 2, 3])
    for name in ("a.glb", "a.stl", "b.glb", "b.stl", "c.stl", "d.stl"):
        box.export(tmp_path / name)
    rows = [
        "a.glb,first,",
        "a.stl,second,",
        "b.glb,third,mm",
        "b.stl,fourth,in",
        "c.stl,fifth,0.5",
        "d.stl,x,ell",
    ]
    captions(tmp_path, *rows, header="path,caption,unit")
    for name, expected in (
        ("a.glb", [1, 3, 2]),  # y is up in glTF, and its unit the meter
        ("a.stl", [0.01, 0.02, 0.03]),
        ("b.glb", [0.001, 0.003, 0.002]),
        ("b.stl", [0.0254, 0.0508, 0.0762]),
        ("c.stl", [0.5, 1, 1.5]),
    ):
        np.testing.assert_allclose(read(tmp_path, name, unit_m=0.01).size_m, expected, rtol=1e-5)
    assert "unit='ell' in the captions file, expected m, cm, mm" in rejection(tmp_path, "d.stl")


@pytest.mark.parametrize(
    ("unit", "meters"), [(None, None), ("millimeters", 0.001), ("0.01 * meters", 0.01), ("inches", 0.0254)]
)
def test_a_unit_that_a_file_names_goes_before_the_setting(unit: str | None, meters: float | None) -> None:
    assert _unit_m(unit) == (None if meters is None else pytest.approx(meters))


ROWS = [
    {"path": "a.stl", "caption": "a box", "category": "boxes"},
    {"path": "./a.stl", "caption": "a cube, 1 m wide", "category": None},
    {"path": "a.stl", "caption": "A  Box.", "category": ""},
]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_captions_files_of_every_format(tmp_path: Path, suffix: str) -> None:
    trimesh.creation.box().export(tmp_path / "a.stl")
    path = tmp_path / f"captions.{suffix}"
    if suffix == "csv":
        path.write_text(
            '\ufeffpath,caption,category\na.stl,a box,boxes\n./a.stl,"a cube, 1 m wide",\na.stl,A  Box.,\n'
        )
    elif suffix == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n\n")
    else:
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    record = read(tmp_path, "a.stl")
    assert record.captions == ("a box", "a cube, 1 m wide")
    assert record.category == "boxes"


def test_the_same_points_every_time(tmp_path: Path) -> None:
    textured_quad().export(tmp_path / "quad.glb")
    captions(tmp_path, "quad.glb,a square")
    np.testing.assert_array_equal(read(tmp_path, "quad.glb").points, read(tmp_path, "quad.glb").points)


BROKEN = {
    "faceless.off": ("OFF\n3 0 0\n0 0 0\n1 0 0\n0 1 0\n", "mesh without faces"),
    "faceless.obj": ("v 0 0 0\nv 1 0 0\nv 0 1 0\n", "mesh without faces"),
    "nan.off": ("OFF\n3 1 0\n0 0 nan\n1 0 0\n0 1 0\n3 0 1 2\n", "NaN or infinite"),
    "flat.off": ("OFF\n3 1 0\n0 0 0\n1 1 1\n2 2 2\n3 0 1 2\n", "zero area"),
    "point.off": ("OFF\n3 1 0\n1 1 1\n1 1 1\n1 1 1\n3 0 1 2\n", "zero area"),
    "cut.off": ("OFF\n3 1 0\n0 0 0\n1 0 0\n", "truncated"),
    "index.off": ("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 7\n", "."),
    "cut.glb": ("glTF\x02\x00\x00\x00\xff\x00\x00\x00", "cannot be read"),
    "cut.stl": ("\x00" * 80 + "\x0a\x00\x00\x00" + "\x00" * 30, "truncated|cannot be read"),
    "empty.ply": ("", "cannot be read|no geometry"),
    "empty.stl": ("", "cannot be read|no geometry"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_meshes_are_rejected_with_their_reason(tmp_path: Path, name: str) -> None:
    text, reason = BROKEN[name]
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    captions(tmp_path, f"{name},something")
    found = rejection(tmp_path, name)
    assert re.search(reason, found), found


def test_a_file_cut_anywhere_never_ends_in_another_error(tmp_path: Path) -> None:
    textured_quad().export(tmp_path / "whole.glb")
    data = (tmp_path / "whole.glb").read_bytes()
    captions(tmp_path, "cut.glb,a square")
    for end in range(0, len(data) - 1, 37):
        (tmp_path / "cut.glb").write_bytes(data[:end])
        source = make_source("folder", root=tmp_path)
        (item,) = [item for item in source.items() if item.id == "cut.glb"]
        with contextlib.suppress(RejectedItem):
            check_record(source.read(item, P, 0), P)


def test_one_bad_file_never_ends_a_build(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "meshes"
    root.mkdir()
    for number in range(3):
        trimesh.creation.box().export(root / f"{number}.stl")
    textured_quad().export(root / "whole.glb")
    data = (root / "whole.glb").read_bytes()
    (root / "cut.glb").write_bytes(data[: len(data) // 2])
    start = data.index(b"IDAT")
    (root / "gray.glb").write_bytes(data[:start] + b"????" + data[start + 4 :])
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8))
    noise.save(root / "image.png")
    (root / "image.png").write_bytes((root / "image.png").read_bytes()[:1500])
    (root / "cut.mtl").write_text("newmtl paint\nmap_Kd image.png\n")
    (root / "paint.obj").write_text(
        "mtllib cut.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nusemtl paint\nf 1/1 2/2 3/3\n"
    )
    names = sorted(path.name for path in root.iterdir() if path.suffix in (".stl", ".glb", ".obj"))
    captions(root, *(f"{name},thing {number}" for number, name in enumerate(names)))
    assert main(["source=folder", f"root={root}", f"out={tmp_path / 'data'}", "points=64", "workers=1"]) == 0
    dataset = ShapeDataset.load(tmp_path / "data")
    assert dataset.ids == ["0.stl", "1.stl", "2.stl", "gray.glb", "paint.obj", "whole.glb"]
    assert [rejection.item for rejection in dataset.rejections] == ["cut.glb"]
    assert "truncated" in dataset.rejections[0].reason
    assert [loss.item for loss in dataset.lost_colors] == ["gray.glb", "paint.obj"]
    assert dataset.manifest.lost_colors == 2
    assert dataset.lost_colors[0].reason == "texture of material 0: not an image of a known format"
    assert (dataset.colors([3, 4]) == 102).all()
    printed = " ".join(capsys.readouterr().out.split())
    assert "colors lost" in printed
    assert "paint.obj: map_Kd" in printed


def test_what_lacks_its_other_half_is_rejected(tmp_path: Path) -> None:
    trimesh.creation.box().export(tmp_path / "alone.stl")
    trimesh.creation.box().export(tmp_path / "mute.stl")
    (tmp_path / "notes.txt").write_text("not a mesh")
    captions(tmp_path, "gone.stl,a caption", "mute.stl,  ", ",no path", "notes.txt,a text")
    assert rejection(tmp_path, "alone.stl") == "file without a caption: the captions file does not name it"
    assert "caption without a file: no gone.stl" in rejection(tmp_path, "gone.stl")
    assert "file without a caption" in rejection(tmp_path, "mute.stl")
    assert rejection(tmp_path, "captions.csv line 4") == "caption without a path"
    assert "format '.txt' is not read" in rejection(tmp_path, "notes.txt")


@pytest.mark.parametrize("path", ["../secret.stl", "/etc/passwd", "a/../../b.stl", "C:\\a.stl", "..\\b.stl"])
def test_paths_that_leave_the_root_are_rejected(tmp_path: Path, path: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    trimesh.creation.box().export(tmp_path / "secret.stl")
    captions(root, f"{path},a secret")
    assert "leaves the root" in rejection(root, path)


def test_links_that_leave_the_root_are_rejected(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    trimesh.creation.box().export(tmp_path / "secret.stl")
    (root / "link.stl").symlink_to(tmp_path / "secret.stl")
    captions(root, "link.stl,a secret")
    assert "leaves the root through a link" in rejection(root, "link.stl")


def test_links_to_nowhere_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "link.stl").symlink_to(tmp_path / "gone.stl")
    captions(tmp_path, "link.stl,something")
    make_source("folder", root=tmp_path).fingerprint()
    assert "caption without a file: no link.stl" in rejection(tmp_path, "link.stl")


def test_a_caption_with_commas_and_no_quotes_is_not_cut_silently(tmp_path: Path) -> None:
    trimesh.creation.box().export(tmp_path / "a.stl")
    captions(tmp_path, "a.stl,a box, wide and flat")
    assert rejection(tmp_path, "a.stl").startswith("more values than columns: put quotes around a caption")
    captions(tmp_path, 'a.stl,"a box, wide and flat"')
    assert read(tmp_path, "a.stl").captions == ("a box, wide and flat",)


def test_captions_that_are_no_texts_are_rejected_or_missing(tmp_path: Path) -> None:
    trimesh.creation.box().export(tmp_path / "a.stl")
    path = tmp_path / "captions.jsonl"
    path.write_text(json.dumps({"path": "a.stl", "caption": ["a box", "a cube"]}))
    assert rejection(tmp_path, "a.stl").startswith("a list as caption: expected a text, and a row for each")
    path.write_text('{"path": "a.stl", "caption": NaN}\n')
    assert "hold no text" in rejection(tmp_path, "a.stl")
    path.write_text('{"path": "a.stl", "caption": 555}\n')
    assert read(tmp_path, "a.stl").captions == ("555",)


def test_a_size_takes_a_fair_sample_of_what_can_be_read(tmp_path: Path) -> None:
    for number in range(20):
        trimesh.creation.box().export(tmp_path / f"{number:02d}.stl")
    captions(tmp_path, *(f"{number:02d}.stl,box {number}" for number in range(19)), "gone.stl,nothing")
    found = {
        size: [item.id for item in make_source("folder", root=tmp_path, size=size).items()] for size in (3, 9)
    }
    assert len(found[3]) == 3
    assert len(found[9]) == 9
    assert set(found[3]) < set(found[9])
    assert found[9] == sorted(found[9]) != sorted(f"{number:02d}.stl" for number in range(9))
    assert len(make_source("folder", root=tmp_path).items()) == 21
    with pytest.raises(DataError, match="size=0, expected a whole number from 1"):
        make_source("folder", root=tmp_path, size=0)


def test_rows_at_odds_are_rejected(tmp_path: Path) -> None:
    trimesh.creation.box().export(tmp_path / "a.stl")
    captions(tmp_path, "a.stl,one,x", "a.stl,two,y", header="path,caption,up")
    assert rejection(tmp_path, "a.stl") == "its rows disagree on up: 'x' and 'y' (line 3)"
    captions(tmp_path, "a.stl,one,w", header="path,caption,up")
    assert "up='w' in the captions file" in rejection(tmp_path, "a.stl")


def test_missing_roots_and_bad_settings(tmp_path: Path) -> None:
    for settings, message in (
        ({}, "no root; set data.root"),
        ({"root": tmp_path / "none"}, "does not exist"),
        ({"root": tmp_path}, "is empty"),
        ({"root": tmp_path, "captions": "mine.csv"}, "no captions file .*mine.csv"),
        ({"root": tmp_path, "captions": "mine.txt"}, "ending in .csv"),
        ({"root": tmp_path, "unit_m": 0}, "unit_m=0"),
        ({"root": tmp_path, "unit_m": "mm"}, "unit_m='mm'"),
        ({"root": tmp_path, "up": "north"}, "up='north'"),
        ({"root": tmp_path, "captoins": "a.csv"}, "did you mean captions"),
    ):
        with pytest.raises(DataError, match=message):
            make_source("folder", **settings).items()
    (tmp_path / "a.stl").write_text("")
    with pytest.raises(DataError, match="no captions file in"):
        make_source("folder", root=tmp_path).items()
    with pytest.raises(DataError, match="is not a folder"):
        make_source("folder", root=tmp_path / "a.stl").items()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("captions.csv", b"", "is empty"),
        ("captions.csv", b"path,caption\n", "has no rows"),
        ("captions.csv", b"file,caption\na.stl,x\n", "no column path; expected path, caption"),
        ("captions.csv", b"path,text\na.stl,x\n", "no column caption"),
        ("captions.csv", b"path,caption\na.stl,\xff\xfe\n", "line 2: byte 0xff"),
        ("captions.jsonl", b"", "is empty"),
        ("captions.jsonl", b'{"path": "a.stl", "caption": "x"}\n{"path": ', "line 2: not JSON"),
        ("captions.jsonl", b'["a.stl", "x"]\n', "line 1: expected an object"),
        ("captions.jsonl", b'{"path": "a.stl"}\n', "no column caption"),
        ("captions.parquet", b"PAR1 not really", "cannot be read"),
        ("captions.parquet", b"", "cannot be read"),
    ],
)
def test_bad_captions_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        make_source("folder", root=tmp_path).items()


def test_two_captions_files_ask_for_a_choice(tmp_path: Path) -> None:
    captions(tmp_path, "a.stl,x")
    (tmp_path / "captions.jsonl").write_text("")
    with pytest.raises(DataError, match=r"several captions files .*set data\.captions"):
        make_source("folder", root=tmp_path).items()


def test_fingerprint_follows_the_captions(tmp_path: Path) -> None:
    trimesh.creation.box().export(tmp_path / "a.stl")
    captions(tmp_path, "a.stl,a box")
    first = make_source("folder", root=tmp_path).fingerprint()
    assert first == make_source("folder", root=tmp_path).fingerprint()
    assert first != make_source("folder", root=tmp_path, unit_m=0.5).fingerprint()
    captions(tmp_path, "a.stl,a bax")
    assert first != make_source("folder", root=tmp_path).fingerprint()
