"""Datasets whose files are changed, cut or deleted, are replaced while they are read, or find no room."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import shutil
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pytest

from align3d.build import main
from align3d.dataset import ShapeDataset
from align3d.datasheet import PICTURE
from align3d.errors import DamagedDataset, DataError
from align3d.pipeline import build
from align3d.store import INFO, STATE, Manifest, ShardInfo
from durable.checksums import file_sha256
from tests.align3d.toy_source import Boxes

ROOT = Path(__file__).parents[2]
LISTS = ("rejections.jsonl", "lost_colors.jsonl")
FILES = ("manifest.json", "state.json", "dataset_info.json", *LISTS, "data-*.arrow")
HARMS = ("flip", "cut", "empty", "delete")


class FadedBoxes(Boxes):
    """Boxes of which some lack their color."""

    def read(self, item, points, seed):  # type: ignore[no-untyped-def]
        record = super().read(item, points, seed)
        return replace(record, lost_colors=("texture: cut",) if item.payload % 2 else ())


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def harm(path: Path, how: str, seed: int) -> None:
    """Change one bit of a file, cut it, empty it, or delete it."""
    content, draw = bytearray(path.read_bytes()), random.Random(seed)
    if how == "flip":
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    if how == "cut":
        del content[draw.randrange(1, len(content)) :]
    if how == "empty":
        content.clear()
    path.write_bytes(content)
    if how == "delete":
        path.unlink()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> ShapeDataset:
    return build(FadedBoxes(20), tmp_path_factory.mktemp("whole") / "boxes", points=16, workers=1)


@pytest.mark.parametrize("how", HARMS)
@pytest.mark.parametrize("name", FILES)
def test_what_is_damaged_is_named_and_built_anew(
    whole: ShapeDataset, tmp_path: Path, name: str, how: str, capfd: pytest.CaptureFixture[str]
) -> None:
    for seed in range(5 if how in ("flip", "cut") else 1):
        out = tmp_path / str(seed) / "boxes"
        shutil.copytree(whole.path, out)
        (path,) = out.rglob(name)
        harm(path, how, seed)
        if name in (
            STATE,
            INFO,
        ):  # of the library datasets: a build that was killed may not have come to them
            assert ShapeDataset.load(out, verify=True).captions == whole.captions
            assert str(path) in capfd.readouterr().err
        else:
            with pytest.raises(DamagedDataset, match=rf"^damaged dataset: {path}.*; build it again$"):
                ShapeDataset.load(out, verify=True)
            capfd.readouterr()
        again = build(FadedBoxes(20), out, points=16, workers=1, progress=False)
        assert contents(again.path) == contents(whole.path)
        told = capfd.readouterr().err
        assert len(told.splitlines()) == 1, told
        assert path.name in told
        assert "made anew" in told


@pytest.mark.parametrize("how", HARMS)
@pytest.mark.parametrize("name", FILES)
def test_without_verification_a_damaged_dataset_ends_no_process(
    whole: ShapeDataset, tmp_path: Path, name: str, how: str
) -> None:
    for seed in range(20 if how == "flip" else 5):
        out = tmp_path / str(seed)
        shutil.copytree(whole.path, out)
        (path,) = out.rglob(name)
        harm(path, how, seed)
        found = None
        with suppress(DataError):
            found = ShapeDataset.load(out)
        if found is not None:
            assert (found.rejections, found.lost_colors) == (whole.rejections, whole.lost_colors)
            assert (len(found.points(slice(None))), len(found.captions)) == (len(whole), len(whole))


def test_a_damaged_shard_of_a_build_that_was_cut_off_is_read_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    expected = contents(build(Boxes(300), tmp_path / "whole", points=8, workers=1).path)
    for place, how in (("data-00000.arrow", "flip"), ("data-00000.json", "flip"), ("plan.json", "cut")):
        out = tmp_path / f"{place}-{how}"
        with pytest.raises(KeyboardInterrupt):
            build(Boxes(300, stop_at=200), out, points=8, workers=1)
        harm(out.with_name(f"{out.name}.partial") / place, how, 3)
        capfd.readouterr()
        assert contents(build(Boxes(300), out, points=8, workers=1, progress=False).path) == expected
        told = capfd.readouterr().err
        assert place == "plan.json" or (place in told and "read again" in told), told


def test_what_is_no_dataset_is_left_alone(whole: ShapeDataset, tmp_path: Path) -> None:
    """A ``manifest.json`` of another program, and a damaged dataset with a file of the user's."""
    other = tmp_path / "index"
    (other / "data-0123456789abcdef").mkdir(parents=True)
    (other / "manifest.json").write_text('{"vectors": 3}')
    mixed = tmp_path / "mixed"
    shutil.copytree(whole.path, mixed)
    (mixed / "manifest.json").unlink()
    (mixed / "thesis.txt").write_text("precious")
    for out in (other, mixed):
        before = contents(out)
        with pytest.raises(DataError, match=rf"{out}"):
            build(FadedBoxes(20), out, points=16, workers=1)
        assert contents(out) == before
    assert {path.name for path in tmp_path.iterdir()} == {"index", "mixed"}


def without_origins(path: Path) -> ShardInfo:
    """Write a shard as schemas before 3 have it."""
    with path.open("rb") as file:
        table = pa.ipc.open_stream(file).read_all().drop_columns(["caption_origins"])
    schema = datasets.Features.from_arrow_schema(table.schema.remove_metadata()).arrow_schema
    with path.open("wb") as file, pa.ipc.new_stream(file, schema) as writer:
        writer.write_table(table.cast(schema))
    return ShardInfo(path.name, len(table), path.stat().st_size, file_sha256(path))


def test_a_dataset_of_the_layout_before_still_opens(whole: ShapeDataset, tmp_path: Path) -> None:
    out = tmp_path / "boxes"
    shutil.copytree(whole.path, out)
    data = out / whole.manifest.data
    (data / PICTURE).unlink()
    for path in data.iterdir():
        path.rename(out / path.name)
    data.rmdir()
    shards = tuple(
        replace(without_origins(out / Path(shard.file).name), rows=shard.rows)
        for shard in whole.manifest.shards
    )
    replace(whole.manifest, schema=1, shards=shards, files={}).write(out)
    found = ShapeDataset.load(out, verify=True)
    assert found.captions == whole.captions
    assert found.caption_origins == [[""] * len(captions) for captions in whole.captions]
    assert whole.caption_origins == [["boxes"] * len(captions) for captions in whole.captions]
    np.testing.assert_array_equal(found.points(slice(None)), whole.points(slice(None)))
    assert found.rejections == whole.rejections
    assert len(found.hugging_face()) == len(whole)
    (out / "rejections.jsonl").unlink()
    with pytest.raises(DamagedDataset, match=r"rejections\.jsonl is missing"):
        ShapeDataset.load(out)
    other = build(FadedBoxes(20), out, points=8, workers=1)
    assert {path.name for path in out.iterdir()} == {
        "manifest.json",
        "state.json",
        "dataset_info.json",
        "README.md",
        other.manifest.data,
    }


def test_a_reader_beside_builds_finds_one_dataset_or_the_other(tmp_path: Path) -> None:
    out, stop = tmp_path / "boxes", threading.Event()
    first = build(Boxes(4), out, points=16, workers=1)
    seen: set[int] = set()
    faults: list[BaseException] = []

    def read() -> None:
        while not stop.is_set():
            try:
                found = ShapeDataset.load(out, verify=True)
                assert found.points(slice(None)).shape == (len(found), found.num_points, 3)
                seen.add(found.num_points)
            except BaseException as error:
                faults.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(40):
        build(Boxes(4), out, points=16 + turn % 2, workers=1, progress=False)
    stop.set()
    reader.join()
    assert not faults, faults[0]
    assert seen == {16, 17}
    assert first.points([3]).shape == (1, 16, 3)  # what was mapped stays readable
    with pytest.raises(DataError, match="holds another dataset by now"):
        first.hugging_face()
    now = datasets.load_from_disk(str(out))
    assert len(now[0]["points"]) == 3 * 17


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_a_build_that_dies_while_it_replaces_leaves_one_dataset_or_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    out = tmp_path / "boxes"
    build(Boxes(5), out, points=16, workers=1)
    expected = contents(build(Boxes(5), tmp_path / "fresh", points=8, workers=1).path)
    rename, left = os.replace, [steps]

    def dying(source: Path, target: Path) -> None:
        if Path(target).parent == out:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
        rename(source, target)

    with monkeypatch.context() as patched:
        patched.setattr("align3d.building.placing.os.replace", dying)
        if steps < 4:
            with pytest.raises(KeyboardInterrupt):
                build(Boxes(5), out, points=8, workers=1)
    assert ShapeDataset.load(out).num_points == (16 if steps == 1 else 8 if steps < 4 else 16)
    assert contents(build(Boxes(5), out, points=8, workers=1).path) == expected
    assert {path.name for path in tmp_path.iterdir()} == {"boxes", "fresh"}


LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.argv[1:] = sys.argv[2:]
runpy.run_module("align3d.build", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(tmp_path: Path, workers: int) -> None:
    expected = contents(build(Boxes(300), tmp_path / "whole", points=64, workers=1).path)
    out = tmp_path / "boxes"
    with pytest.raises(KeyboardInterrupt):
        build(Boxes(300, stop_at=200), out, points=64, workers=1)
    words = ["source=tests.align3d.toy_source:Boxes", "size=300", "points=64", f"workers={workers}"]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, "50000", *words, f"out={out}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    (line,) = (line for line in done.stderr.splitlines() if not line.startswith("reading"))
    assert str(out) in line
    assert "are needed" in line
    assert "the same command goes on" in line
    left = tmp_path / "boxes.partial"
    assert {path.name for path in left.iterdir()} >= {"plan.json", "data-00000.arrow", "data-00000.json"}
    assert not list(left.glob(".*"))
    before = (left / "data-00000.arrow").stat().st_ino
    dataset = build(Boxes(300), out, points=64, workers=1)
    assert (out / dataset.manifest.shards[0].file).stat().st_ino == before
    assert contents(out) == expected
    assert {path.name for path in tmp_path.iterdir()} == {"boxes", "whole"}


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK])
def test_a_file_system_without_locks_is_one_line(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    assert main(["source=procedural", "size=2", f"out={tmp_path / 'few'}", "workers=1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "few.lock") in line
    assert "the file system knows no locks" in line
    assert "choose a folder on another file system (out=; cache= of a run)" in line


def test_a_manifest_that_leads_out_of_its_folder_is_refused(whole: ShapeDataset, tmp_path: Path) -> None:
    for name in ("../elsewhere.arrow", "/etc/passwd"):
        shard = replace(whole.manifest.shards[0], file=name)
        replace(whole.manifest, shards=(shard,)).write(tmp_path)
        with pytest.raises(DamagedDataset, match="files outside of its folder"):
            Manifest.read(tmp_path)
