"""Cap3D: a CSV without a header, and clouds (6, N) of torch."""

from pathlib import Path

import numpy as np
import pytest
import torch

from align3d.errors import DataError
from align3d.pipeline import build
from align3d.sources import make_source
from tests.align3d.sources.benchmarks.published_shapes import CORNERS, SHADES, by_color, in_unit_sphere, read

CAPTIONS = 'aa,"a red chair, with arms"\nbb,a lamp\ncc,a sofa\ndd,a bed\nee,torn,row\nzz,a lost one\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "Cap3D_automated_Objaverse.csv").write_text(CAPTIONS)
    folder = tmp_path / "Cap3D_pcs_pt"
    folder.mkdir()
    table = np.concatenate([CORNERS.T, SHADES.T / 255]).astype(np.float32)  # (6, 4)
    torch.save(torch.from_numpy(table), folder / "aa.pt")
    torch.save(torch.from_numpy(np.tile(table, 3)), folder / "bb.pt")  # other numbers of points occur
    (folder / "cc.pt").write_bytes(b"")
    torch.save(torch.from_numpy(table.T.copy()), folder / "dd.pt")
    torch.save(torch.from_numpy(table), folder / "ee.pt")
    torch.save(torch.from_numpy(table), folder / "yy.pt")
    return tmp_path


def test_captions_points_and_colors_are_those_of_the_files(root: Path) -> None:
    records, _ = read(root, "cap3d")
    assert {name: record.captions for name, record in records.items()} == {
        "aa": ("a red chair, with arms",),  # the first line is no header
        "bb": ("a lamp",),
    }
    assert np.allclose(by_color(records["aa"]), in_unit_sphere(CORNERS), atol=1e-3)
    assert np.allclose(records["aa"].size_m, np.ptp(in_unit_sphere(CORNERS), axis=0), atol=1e-3)
    assert (records["aa"].up_axis, records["aa"].category) == ("z", "")


def test_what_cannot_be_used_is_rejected_by_name(root: Path) -> None:
    _, rejected = read(root, "cap3d")
    assert set(rejected) == {"cc", "dd", "ee", "yy", "zz"}
    assert rejected["cc"] == "Cap3D_pcs_pt/cc.pt: an empty file"
    assert "tensor [4, 6], expected (6, N)" in rejected["dd"]
    assert rejected["ee"] == "line 5: 3 values, expected uid,caption"
    assert rejected["yy"].startswith("file without a caption")
    assert rejected["zz"] == "caption without a file: no zz.pt"


def test_archives_are_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "Cap3D_automated_Objaverse.csv").write_text(CAPTIONS)
    (tmp_path / "PointCloud_pt_zips").mkdir()
    (tmp_path / "PointCloud_pt_zips" / "compressed_pcs_pt_00.zip").touch()
    with pytest.raises(
        DataError, match=r"holds archives: unpack them\) \(looked for pt: .*tiange/Cap3D.*ODC-By"
    ):
        read(tmp_path, "cap3d")


def test_a_cut_file_is_rejected(root: Path) -> None:
    path = root / "Cap3D_pcs_pt" / "aa.pt"
    path.write_bytes(path.read_bytes()[:200])
    torch.save(torch.zeros(6, 0), root / "Cap3D_pcs_pt" / "bb.pt")
    _, rejected = read(root, "cap3d")
    assert "aa.pt: refused or damaged" in rejected["aa"]
    assert rejected["bb"] == "Cap3D_pcs_pt/bb.pt: point cloud without points"


def test_a_build_lists_them(root: Path, tmp_path: Path) -> None:
    dataset = build(
        make_source("cap3d", root=str(root)), tmp_path / "out", points=16, workers=1, progress=False
    )
    assert len(dataset) == 2
    assert {one.item for one in dataset.rejections} == {"cc", "dd", "ee", "yy", "zz"}


def test_of_several_captions_files_one_is_named(root: Path) -> None:
    (root / "other.csv").write_text("aa,an armchair\n")
    with pytest.raises(
        DataError, match=r"several captions files \(Cap3D_automated_Objaverse.csv, other.csv\)"
    ):
        read(root, "cap3d")
    records, _ = read(root, "cap3d", captions="other.csv")
    assert records["aa"].captions == ("an armchair",)


def test_the_fingerprint_changes_with_files_and_captions(root: Path) -> None:
    before = make_source("cap3d", root=str(root)).fingerprint()
    assert make_source("cap3d", root=str(root)).fingerprint() == before
    (root / "Cap3D_automated_Objaverse.csv").write_text(CAPTIONS.replace("lamp", "lantern"))
    captioned = make_source("cap3d", root=str(root)).fingerprint()
    torch.save(torch.zeros(6, 9), root / "Cap3D_pcs_pt" / "aa.pt")
    assert len({before, captioned, make_source("cap3d", root=str(root)).fingerprint()}) == 3
