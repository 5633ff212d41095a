"""Names of files and paths in captions files that mean the same, or almost."""

import os
import unicodedata
from pathlib import Path

import pytest
import trimesh

from align3d.errors import RejectedItem
from align3d.pipeline import build
from align3d.sources import make_source
from align3d.sources.file_names import FileNames

NFC, NFD = (unicodedata.normalize(form, "grüner Stuhl.stl") for form in ("NFC", "NFD"))
LATIN_1 = os.fsdecode("gr\u00fcn.stl".encode("latin-1"))


def folder(root: Path, files: list[str], rows: list[str]) -> dict[str, str]:
    """Rejections of a folder's items by id; empty for those that can be read."""
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        trimesh.creation.box().export(root / name, file_type="stl")
    (root / "captions.csv").write_text("\n".join(["path,caption", *rows]), encoding="utf-8")
    source = make_source("folder", root=root)
    source.fingerprint()
    found = {}
    for item in source.items():
        try:
            found[item.id] = ""
            source.read(item, 64, 0)
        except RejectedItem as rejected:
            found[item.id] = rejected.reason
    return found


@pytest.mark.parametrize(("on_disk", "in_captions"), [(NFD, NFC), (NFC, NFD), (NFD, NFD), (NFC, NFC)])
def test_a_name_is_found_in_either_normal_form_and_has_one_id(
    tmp_path: Path, on_disk: str, in_captions: str
) -> None:
    assert folder(tmp_path, [f"sub/{on_disk}"], [f"sub/{in_captions},a chair"]) == {f"sub/{NFC}": ""}


def test_two_files_whose_names_differ_in_normal_form_alone_are_told(tmp_path: Path) -> None:
    found = folder(tmp_path, [NFC, NFD], [f"{NFD},a chair"])
    assert found[NFC] == ""
    assert found[NFD].startswith("file name that differs from another one in Unicode's normal form alone")


def test_a_name_that_is_not_utf_8_is_one_rejection(tmp_path: Path) -> None:
    found = folder(tmp_path, ["a.stl", LATIN_1, f"sub{LATIN_1}/b.stl"], ["a.stl,a box"])
    (tmp_path / f"{LATIN_1}.txt").touch()
    assert found == {
        "a.stl": "",
        r"gr\xfcn.stl": r"file name is not UTF-8: gr\xfcn.stl; rename the file",
        r"subgr\xfcn.stl/b.stl": r"file name is not UTF-8: subgr\xfcn.stl/b.stl; rename the file",
    }


def test_a_build_goes_on_past_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    folder(root, ["a.stl", LATIN_1], ["a.stl,a box", "grün.stl,a green box"])
    dataset = build(make_source("folder", root=root), tmp_path / "out", points=64, workers=1, progress=False)
    assert dataset.ids == ["a.stl"]
    rejected = {one.item: one.reason for one in dataset.rejections}
    assert rejected[r"gr\xfcn.stl"] == r"file name is not UTF-8: gr\xfcn.stl; rename the file"
    assert rejected["grün.stl"].endswith(r"; did you mean gr\xfcn.stl (its name is not UTF-8)?")


@pytest.mark.parametrize(
    ("on_disk", "in_captions", "hint"),
    [
        ("chairs/Red.STL", "chairs/red.stl", "; did you mean chairs/Red.STL?"),
        ("chairs/red.stl", "red.stl", "; did you mean chairs/red.stl?"),
        ("chairs/red.stl", "chairs/red", "; did you mean chairs/red.stl?"),
        ("chairs/red.stl", "stools/red.obj", "; did you mean chairs/red.stl?"),
        ("red  chair.stl", "red chair.stl", "; did you mean red  chair.stl?"),
        (
            "chairs\\red.stl",
            "chairs\\red.stl",
            "; did you mean chairs\\red.stl (its name has a backslash; rename",
        ),
        ("chairs/red.stl", "blue.stl", ""),
    ],
)
def test_a_path_that_is_almost_that_of_a_file_is_hinted_at(
    tmp_path: Path, on_disk: str, in_captions: str, hint: str
) -> None:
    found = folder(tmp_path, [on_disk], [f"{in_captions},a red chair"])
    reason = found[in_captions.replace("\\", "/")]
    assert reason.startswith("caption without a file: no ")
    assert (hint in reason) if hint else ("did you mean" not in reason)


def test_backslashes_part_folders_in_a_captions_file(tmp_path: Path) -> None:
    assert folder(tmp_path, ["chairs/red.stl"], ["chairs\\red.stl,a red chair"]) == {"chairs/red.stl": ""}


def test_a_path_that_is_too_long_for_the_disk_is_a_rejection(tmp_path: Path) -> None:
    found = folder(tmp_path, ["a.stl"], ["a.stl,a box", f"{'x' * 300}.stl,a box"])
    assert found[f"{'x' * 300}.stl"].startswith("caption without a file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path) -> None:
    for name in ("open/a.stl", "closed/b.stl"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    (tmp_path / "closed").chmod(0)
    files = FileNames(tmp_path)
    (tmp_path / "closed").chmod(0o755)
    assert (files.names, files.unlisted) == (["open/a.stl"], {"closed": "Permission denied"})
