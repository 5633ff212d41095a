"""Exports to WebDataset and Parquet: other libraries read them, and what comes back is the same dataset."""

from __future__ import annotations

import errno
import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset

import align3d.export
from align3d.build import main
from align3d.dataset import ShapeDataset
from align3d.errors import DataError
from align3d.exchange.export_index import INDEX
from align3d.export import Format, export
from align3d.pipeline import build
from align3d.sources import make_source
from durable.errors import NoSpaceError
from tests.align3d.building.built_boxes import contents
from tests.align3d.toy_source import Boxes

FORMATS: tuple[Format, ...] = ("webdataset", "parquet")


class Faded(Boxes):
    def read(self, item, points, seed):  # type: ignore[no-untyped-def]
        record = super().read(item, points, seed)
        captions = (*record.captions, 'größer, "rund"\n椅子', f"told of {item.id}")
        origins = ("boxes", "boxes", "views:a", "views:b")
        lost = ("texture: cut",) if item.payload % 2 else ()
        return replace(
            record, captions=captions, caption_origins=origins, lost_colors=lost, notes=("a guess",)
        )


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> ShapeDataset:
    return build(Faded(50), tmp_path_factory.mktemp("exchange") / "boxes", points=16, seed=5, workers=1)


@pytest.fixture(scope="module", params=FORMATS)
def exported(
    boxes: ShapeDataset, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("exported") / str(request.param)
    export(boxes, request.param, out, rows=20)
    return out


@pytest.fixture
def copied(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / exported.name))


def kind(folder: Path) -> Format:
    return "parquet" if folder.name == "parquet" else "webdataset"


def test_a_round_trip_gives_the_same_dataset(boxes: ShapeDataset, exported: Path, tmp_path: Path) -> None:
    words = [f"source={kind(exported)}", f"root={exported}", f"out={tmp_path / 'back'}", "workers=1"]
    assert main(words) == 0
    back = ShapeDataset.load(tmp_path / "back", verify=True)
    assert back.hash == boxes.hash
    assert (back.num_points, back.manifest.seed, back.up_axis) == (16, 5, "z")
    for name in ("points", "colors", "part", "size_m"):
        np.testing.assert_array_equal(getattr(back, name)(slice(None)), getattr(boxes, name)(slice(None)))
    for name in (
        "captions",
        "caption_origins",
        "part_names",
        "categories",
        "licenses",
        "lost_colors",
        "notes",
    ):
        assert getattr(back, name) == getattr(boxes, name), name


def test_exports_are_the_same_bytes(boxes: ShapeDataset, exported: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    index = export(boxes, kind(exported), again, rows=20)
    assert contents(again) == contents(exported)
    assert export(boxes, kind(exported), again) == index  # is there already
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


def test_webdataset_reads_the_shards(boxes: ShapeDataset, tmp_path: Path) -> None:
    export(boxes, "webdataset", tmp_path / "out", rows=20)
    shards = sorted(map(str, (tmp_path / "out").glob("*.tar")))
    assert len(shards) == 3
    samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode())
    assert [sample["json"]["id"] for sample in samples] == boxes.ids
    assert samples[3]["json"]["captions"] == boxes.captions[3]
    np.testing.assert_array_equal(samples[3]["points.npy"], boxes.points([3])[0])
    np.testing.assert_array_equal(samples[3]["colors.npy"], boxes.colors([3])[0])


def test_hugging_face_reads_the_parquet_files(boxes: ShapeDataset, tmp_path: Path) -> None:
    export(boxes, "parquet", tmp_path / "out", rows=20)
    cache = str(tmp_path / "cache")
    files = sorted(map(str, (tmp_path / "out").rglob("*.parquet")))
    by_file = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=cache)
    by_folder = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=cache)
    for found in (by_file, by_folder):
        assert found["id"][:] == boxes.ids
        assert found.features == boxes.hugging_face().features
        np.testing.assert_array_equal(
            np.array(found[3]["points"], np.float16).reshape(-1, 3), boxes.points([3])[0]
        )


def test_fewer_points_and_several_sources(exported: Path, tmp_path: Path) -> None:
    source = make_source(f"{kind(exported)},boxes=tests.align3d.toy_source:Boxes", size=3, root=exported)
    joined = build(source, tmp_path / "joined", points=8, workers=1)
    assert len(joined) == 43 + 3
    assert joined.num_points == 8
    more = build_error(make_source(kind(exported), root=exported), tmp_path / "more", points=32)
    assert "16 points are stored: build with points=16 or fewer" in more


def build_error(source, out: Path, points: int = 16) -> str:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError) as error:
        build(source, out, points=points, workers=1)
    return str(error.value)


def first_shard(folder: Path) -> Path:
    return sorted([*folder.rglob("*.tar"), *folder.rglob("*.parquet")])[0]


def cut(folder: Path) -> None:
    path = first_shard(folder)
    path.write_bytes(path.read_bytes()[:-700])


def flipped(folder: Path) -> None:
    data = bytearray(first_shard(folder).read_bytes())
    data[len(data) // 2] ^= 1
    first_shard(folder).write_bytes(data)


def gone(folder: Path) -> None:
    first_shard(folder).unlink()


def changed_index(folder: Path) -> None:
    path = folder / INDEX
    path.write_text(path.read_text().replace('"seed": 5', '"seed": 6'))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (cut, "bytes, expected .*export them again"),
        (flipped, "SHA-256 is not the one .*export them again"),
        (gone, "is missing; get the files once more"),
        (changed_index, r"align3d\.json is damaged"),
    ],
)
def test_damaged_exports_are_refused(
    copied: Path, tmp_path: Path, change: Callable[[Path], None], message: str
) -> None:
    change(copied)
    with pytest.raises(DataError, match=message):
        build(make_source(kind(copied), root=copied), tmp_path / "out", points=16, workers=1)
    assert not (tmp_path / "out").exists()


def test_files_without_an_index_are_read_too(boxes: ShapeDataset, copied: Path, tmp_path: Path) -> None:
    (copied / INDEX).unlink()
    found = build(make_source(kind(copied), root=copied), tmp_path / "out", points=16, seed=5, workers=1)
    assert found.hash == boxes.hash
    path = first_shard(copied)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    told = build_error(make_source(kind(copied), root=copied), tmp_path / "other")
    assert first_shard(copied).name in told


def test_foreign_files_are_named(tmp_path: Path) -> None:
    root = tmp_path / "foreign"
    root.mkdir()
    assert "no *.tar file in" in build_error(make_source("webdataset", root=root), tmp_path / "out")
    pq.write_table(pa.table({"id": ["a"], "text": ["b"]}), root / "a.parquet")
    assert "no column 'source' (needed: id," in build_error(
        make_source("parquet", root=root), tmp_path / "out"
    )
    (root / "a.txt").write_text("a")
    with tarfile.open(root / "a.tar", "w") as tar:
        tar.add(root / "a.txt", "000.txt")
    told = build_error(make_source("webdataset", root=root), tmp_path / "out")
    assert "000 has no 000.json (members of a shape: json, points.npy" in told
    (root / INDEX).write_text("{}")
    assert "is damaged: has no checksum" in build_error(make_source("parquet", root=root), tmp_path / "out")


def test_pickled_arrays_are_never_opened(tmp_path: Path) -> None:
    class Touch:
        def __reduce__(self):  # type: ignore[no-untyped-def]
            return Path.touch, (tmp_path / "executed",)

    root = tmp_path / "evil"
    root.mkdir()
    texts = {name: "a" for name in ("id", "source", "category", "license", "content_hash")}
    (root / "0.json").write_text(
        json.dumps({**texts, "up_axis": "z", "captions": ["a"], "part_names": [], "size_m": [1, 1, 1]})
    )
    for name in ("points", "colors", "part"):
        np.save(root / f"0.{name}.npy", np.array([Touch()], dtype=object), allow_pickle=True)
    with tarfile.open(root / "a.tar", "w") as tar:
        for path in sorted(root.glob("0.*")):
            tar.add(path, path.name)
    told = build_error(make_source("webdataset", root=root), tmp_path / "out")
    assert "Object arrays cannot be loaded" in told
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("format_", FORMATS)
def test_a_full_disk_leaves_nothing(
    boxes: ShapeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_: Format
) -> None:
    names = {"webdataset": "webdataset_shards.write_tar", "parquet": "parquet_shards.write_parquet"}
    write = {name: getattr(align3d.export, name.split(".")[0]) for name in names.values()}[names[format_]]
    function, left = names[format_].split(".")[1], [1]
    plain = getattr(write, function)

    def full(*arguments: object) -> None:
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        left[0] -= 1
        plain(*arguments)

    monkeypatch.setattr(write, function, full)
    with pytest.raises(NoSpaceError, match="the disk is full"):
        export(boxes, format_, tmp_path / "out", rows=20)
    assert not list(tmp_path.iterdir())


def test_the_command_exports(boxes: ShapeDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"dataset={boxes.path}", "format=parquet", f"out={tmp_path / 'out'}"]
    assert align3d.export.main(words) == 0
    assert "43 shapes in 1 files of parquet" in capsys.readouterr().out
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").touch()
    for mistake, message in (
        (words[:2], "out= is missing, as in"),
        ([*words[:1], "format=csv", words[2]], "format=csv: expected 'webdataset' or 'parquet'"),
        ([*words[:2], f"out={tmp_path / 'mine'}"], "holds something else"),
        ([f"dataset={tmp_path}", *words[1:]], "no dataset at"),
    ):
        assert align3d.export.main(mistake) == 2
        assert message in capsys.readouterr().err
