"""What holds for every benchmark: what is missing is named with its publisher and license."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from align3d.console.declarations import declared
from align3d.errors import DataError, RejectedItem
from align3d.sources import SOURCES, make_source
from align3d.sources.benchmarks.published import PublishedSource
from align3d.sources.benchmarks.published_layout import Layout
from align3d.sources.benchmarks.published_values import cloud_of, is_below

BENCHMARKS = {name: cls for name, cls in SOURCES.items() if issubclass(cls, PublishedSource)}
COMMON = {one.name for one in fields(PublishedSource)}


def test_every_source_but_those_of_our_own_reads_a_benchmark() -> None:
    own = {name for name, cls in SOURCES.items() if cls.__module__.startswith("align3d.")} - set(BENCHMARKS)
    assert own == {"built", "folder", "kicad", "parquet", "procedural", "webdataset"}
    assert len(BENCHMARKS) == 15


@pytest.mark.parametrize("name", BENCHMARKS)
def test_what_is_missing_is_said_with_what_to_download_from_whom_and_its_license(
    name: str, tmp_path: Path
) -> None:
    cls = BENCHMARKS[name]
    published = cls.PUBLISHED
    assert all((published.files, published.publisher, published.license, published.terms))
    for settings, told in (
        ({}, "no root; "),
        ({"root": tmp_path / "none"}, f"root {tmp_path / 'none'} does not exist; "),
        ({"root": tmp_path}, f"nothing of it in {tmp_path}"),
    ):
        with pytest.raises(DataError) as error:
            make_source(name, **settings).items()
        message = str(error.value)
        assert message.startswith(f"data={name}: {told}")
        assert (
            f"download {published.files} from {published.publisher} (license: {published.terms})" in message
        )
        assert "\n" not in message
    looked = message.partition("(looked for ")[2]
    assert all(f"{layout.name}: " in looked for layout in cls.LAYOUTS)
    assert "{" not in looked


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_file_in_place_of_the_root_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is not a folder; download "):
        make_source(name, root=tmp_path / "file").items()


@pytest.mark.parametrize("name", BENCHMARKS)
@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"split": "tset"}, "split='tset', expected "),
        ({"layout": "zip"}, "layout='zip', expected "),
        ({"up": "w"}, "up='w', expected x or y or z"),
        ({"size": 0}, "size=0, expected a whole number from 1"),
        ({"size": True}, "size=True, expected a whole number from 1"),
    ],
)
def test_a_wrong_setting_is_named(name: str, settings: dict[str, object], told: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"data={name}: {told}"):
        make_source(name, root=tmp_path, **settings)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_setting_has_a_comment_and_the_common_ones_are_declared_once(name: str) -> None:
    settings = declared(BENCHMARKS[name])
    assert set(settings) >= COMMON
    assert all(one.comment for one in settings.values())
    assert settings["root"].comment == declared(PublishedSource)["root"].comment


@pytest.mark.parametrize("name", BENCHMARKS)
def test_layouts_have_names_of_their_own_and_an_axis(name: str) -> None:
    layouts = BENCHMARKS[name].LAYOUTS
    assert len({layout.name for layout in layouts}) == len(layouts)
    assert all(layout.up in "yz" and layout.marks for layout in layouts)


def named(tmp_path: Path, *files: str) -> Path:
    for file in files:
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def found(root: Path, **settings: object) -> tuple[Layout, Path]:
    source = make_source("modelnet40", root=root, **settings)
    assert isinstance(source, PublishedSource)
    return source.found


H5 = ("ply_data_test0.h5", "shape_names.txt")


def test_files_at_the_root_count_before_those_of_a_folder_below(tmp_path: Path) -> None:
    named(tmp_path, "copy/ply_data_test0.h5", "copy/shape_names.txt")
    assert found(tmp_path)[1] == tmp_path / "copy"
    named(tmp_path, *H5)
    assert found(tmp_path)[1] == tmp_path


def test_several_folders_or_layouts_are_refused_by_name(tmp_path: Path) -> None:
    named(tmp_path, *(f"{folder}/{file}" for folder in ("a", "b") for file in H5))
    with pytest.raises(DataError, match=r"holds h5 in a, h5 in b; say which by root="):
        found(tmp_path)
    named(tmp_path, *H5, "chair/test/chair_0001.off")
    with pytest.raises(DataError, match=r"holds off, h5; say which by layout="):
        found(tmp_path)
    assert found(tmp_path, layout="off")[0].name == "off"


def test_what_is_hidden_or_left_by_a_mac_is_not_there(tmp_path: Path) -> None:
    named(tmp_path, *(f"__MACOSX/{file}" for file in H5), *(f".trash/{file}" for file in H5))
    named(tmp_path, "chair/test/._chair_0001.off", "__MACOSX/test/chair_0001.off")
    with pytest.raises(DataError, match="nothing of it"):
        found(tmp_path)


def test_another_split_that_is_there_is_named(tmp_path: Path) -> None:
    named(tmp_path, "ply_data_train0.h5", "shape_names.txt")
    with pytest.raises(DataError, match="for split=test, only for train "):
        found(tmp_path)


def test_a_list_that_names_a_shape_twice_is_refused(tmp_path: Path) -> None:
    rows = '[{"name": "chair_1", "category": "chair"}, {"name": "chair_1", "category": "chair"}]'
    (tmp_path / "test_split.json").write_text(rows)
    cloud = {"xyz": np.zeros((4, 3))}
    np.save(tmp_path / "test_pc.npy", np.array([cloud, cloud], dtype=object))
    with pytest.raises(DataError, match="data=modelnet40: its lists name 'chair_1' twice"):
        make_source("modelnet40", root=tmp_path).items()


def test_a_file_that_a_list_names_lies_below_its_folder(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    for folder in (tmp_path, inside):
        (folder / "a.npy").touch()
    assert is_below(inside, "a.npy")
    for name in ("../a.npy", str(tmp_path / "a.npy"), "b.npy", "x" * 5000):
        assert not is_below(inside, name)


def test_the_range_of_colors_is_that_of_the_format_or_what_they_look_like() -> None:
    points = np.eye(3)
    dark = np.full((3, 3), 1.0)
    for scale, shade in ((None, 255), (1.0, 1), (255.0, 255)):
        colors = cloud_of(points, "a.npy", dark, scale).colors
        assert colors is not None
        assert (colors == shade).all()
    lost = cloud_of(points, "a.npy", dark * 3, 255.0)
    assert (lost.colors, lost.lost) == (None, ("a.npy: colors from 3 to 3, expected 0 to 1",))


GARBAGE = (
    b"",
    b"\x00" * 64,
    b"[]",
    b"{}",
    b"[[1, 2], 3]",
    b'{"a": [1]}',
    b"a,b\nc\n",
    b"\x80\x04]\x94.",
    b"1 2 3\n",
)
EACH_LAYOUT = [(name, layout.name) for name, cls in BENCHMARKS.items() for layout in cls.LAYOUTS]


@pytest.mark.parametrize("content", GARBAGE, ids=lambda content: repr(content[:9]))
@pytest.mark.parametrize(("name", "layout"), EACH_LAYOUT)
def test_garbage_in_the_place_of_its_files_ends_in_one_line(
    name: str, layout: str, content: bytes, tmp_path: Path
) -> None:
    source = make_source(name, root=tmp_path, layout=layout)
    assert isinstance(source, PublishedSource)
    (wanted,) = source.wanted
    for mark in wanted.marks:
        path = tmp_path / mark.format(source=source).split("|")[0].replace("**", "x").replace("*", "0_0")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content) if path.suffix else path.mkdir(exist_ok=True)
    assert source.found[0].name == layout
    refused = ""
    try:
        items = [*source.items()]
        source.fingerprint()
    except DataError as error:
        items, refused = [], str(error)
    assert "\n" not in refused
    assert refused.count("is damaged") <= 1
    assert refused.startswith(f"data={name}: ") or not refused
    for item in items:
        with pytest.raises(RejectedItem) as rejected:
            source.read(item, 4, 0)
        assert "\n" not in rejected.value.reason
