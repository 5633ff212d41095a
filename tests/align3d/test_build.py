"""Building: the same bytes however it was run, whole or not at all, and clear about what went wrong."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import datasets
import numpy as np
import pytest

from align3d.build import main
from align3d.building.workers import CRASH
from align3d.dataset import ShapeDataset
from align3d.errors import DataError, RejectedItem
from align3d.pipeline import build, default_cache, load_or_build
from align3d.sources import SOURCES
from tests.align3d.toy_source import Boxes

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> ShapeDataset:
    """300 boxes in three shards, built in one go in this process."""
    return build(Boxes(300), tmp_path_factory.mktemp("reference") / "boxes", points=32, workers=1)


def test_round_trip(reference: ShapeDataset) -> None:
    source = Boxes(300)
    kept = [item for item in source.items() if item.payload % 7 != 6]
    assert len(reference) == len(kept) == 258
    assert reference.ids == [item.id for item in kept]
    rows = [257, 0, 130, 0]
    for row, points, colors, part, size in zip(
        rows,
        reference.points(rows),
        reference.colors(rows),
        reference.part(rows),
        reference.size_m(rows),
        strict=True,
    ):
        record = source.read(kept[row], 32, 0)
        np.testing.assert_array_equal(points, record.points)
        np.testing.assert_array_equal(colors, record.colors)
        np.testing.assert_array_equal(part, record.part)
        np.testing.assert_array_equal(size, record.size_m)
        assert reference.captions[row] == list(record.captions)
        assert reference.part_names[row] == list(record.part_names)
        assert reference.categories[row] == record.category
        assert reference.licenses[row] == record.license
        assert reference.content_hashes[row] == record.content_hash
    assert (reference.name, reference.up_axis, reference.num_points) == ("boxes", "z", 32)


def test_types_and_ways_to_index(reference: ShapeDataset) -> None:
    assert reference.points(range(5)).dtype == np.float16
    assert reference.colors(slice(5)).shape == (5, 32, 3)
    assert reference.part(np.array([3])).dtype == np.int16
    assert reference.size_m([]).shape == (0, 3)
    np.testing.assert_array_equal(reference.points(range(258))[[200, 3]], reference.points([200, 3]))
    for wrong in ([258], [-1]):
        with pytest.raises(IndexError, match="dataset of 258 shapes"):
            reference.points(wrong)
    with pytest.raises(TypeError, match="expected integers"):
        reference.points([0.5])


def test_every_rejection_is_listed(reference: ShapeDataset) -> None:
    assert [rejection.item for rejection in reference.rejections] == [
        f"box-{n:04d}" for n in range(6, 300, 7)
    ]
    assert {rejection.reason for rejection in reference.rejections} == {"a box of no size"}


def test_hugging_face_reads_the_folder(reference: ShapeDataset) -> None:
    table = datasets.load_from_disk(str(reference.path))
    assert table.column_names == reference.hugging_face().column_names
    assert len(table) == len(reference)
    np.testing.assert_array_equal(
        np.array(table[5]["points"], dtype=np.float16).reshape(32, 3), reference.points([5])[0]
    )


def test_splits_keep_equal_boxes_together(reference: ShapeDataset) -> None:
    splits = reference.splits(test=60, reward=0.2)
    of_hash: dict[str, set[str]] = {}
    for name, indices in splits.items():
        for index in indices:
            of_hash.setdefault(reference.content_hashes[index], set()).add(name)
    assert all(len(names) == 1 for names in of_hash.values())


def test_workers_do_not_change_a_byte(reference: ShapeDataset, tmp_path: Path) -> None:
    parallel = build(Boxes(300), tmp_path / "boxes", points=32, workers=2)
    assert contents(parallel.path) == contents(reference.path)


def test_interrupted_build_goes_on_and_ends_the_same(reference: ShapeDataset, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(Boxes(300, stop_at=200), tmp_path / "boxes", points=32, workers=1)
    assert not (tmp_path / "boxes").exists()
    first = tmp_path / "boxes.partial/data-00000.arrow"
    before = first.stat().st_mtime_ns, first.stat().st_ino
    (tmp_path / "boxes.partial/data-00001.arrow").write_bytes(b"half a shard")
    source = Boxes(300)
    read: list[int] = []
    plain = source.read
    source.read = lambda item, points, seed: (read.append(item.payload), plain(item, points, seed))[1]  # type: ignore[method-assign]
    dataset = build(source, tmp_path / "boxes", points=32, workers=1)
    assert min(read) == 128  # the first shard of 128 was kept
    kept = (dataset.path / dataset.manifest.shards[0].file).stat()
    assert (kept.st_mtime_ns, kept.st_ino) == before
    assert contents(dataset.path) == contents(reference.path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["boxes"]


def test_killed_build_goes_on_and_ends_the_same(reference: ShapeDataset, tmp_path: Path) -> None:
    arguments = ["source=toy_source:Boxes", "size=300", f"out={tmp_path / 'boxes'}", "points=32", "workers=1"]
    command = [sys.executable, "-m", "align3d.build", *arguments]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{HERE}"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while process.poll() is None and not (tmp_path / "boxes.partial/data-00000.json").exists():
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "258 of 32 points" in done.stdout
    assert contents(tmp_path / "boxes") == contents(reference.path)


SLOW = """
import fcntl, multiprocessing, pathlib
from tests.align3d.toy_source import Boxes
class Slow(Boxes): pass
if multiprocessing.current_process().name != "MainProcess":
    here = pathlib.Path(__file__)
    here.with_name("importing").touch()
    with here.open() as held:
        fcntl.flock(held, fcntl.LOCK_SH)  # until the test has interrupted
"""


def test_interrupted_workers_say_nothing(tmp_path: Path) -> None:
    source = tmp_path / "slow_source.py"
    source.write_text(SLOW)
    held = source.open()
    fcntl.flock(held, fcntl.LOCK_EX)
    arguments = ["source=slow_source:Slow", "size=300", f"out={tmp_path / 'boxes'}", "points=8", "workers=2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "align3d.build", *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, HERE, tmp_path)))},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # which a shell's `&` ignores
    )
    while process.poll() is None and not (tmp_path / "importing").exists():
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGINT)  # to all of them, as a terminal does
    held.close()
    assert process.communicate(timeout=60)[1] == "interrupted; run the same command to go on from here\n"
    assert process.returncode == 130


@pytest.mark.parametrize("command", ["align3d.build", "experiments.run", "experiments.report"])
def test_an_interrupt_while_a_command_imports_is_one_line(tmp_path: Path, command: str) -> None:
    (tmp_path / "numpy.py").write_text("raise KeyboardInterrupt")  # as if Ctrl-C had come just then
    done = subprocess.run(
        [sys.executable, "-m", command],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "interrupted\n")


@pytest.mark.parametrize(("size", "die_at", "workers"), [(300, 299, 2), (20, 3, 2), (20, 3, 1)])
def test_an_item_that_kills_its_worker_is_rejected_alone(
    tmp_path: Path, size: int, die_at: int, workers: int
) -> None:
    dataset = build(Boxes(size, die_at=die_at), tmp_path / "boxes", points=32, workers=workers)
    expected = [f"box-{n:04d}" for n in range(size) if n % 7 != 6 and n != die_at]
    assert dataset.ids == expected
    crashed = [rejection.item for rejection in dataset.rejections if rejection.reason == CRASH]
    assert crashed == [f"box-{die_at:04d}"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["boxes"]


def test_several_items_kill_their_workers(tmp_path: Path) -> None:
    dataset = build(Boxes(140, die_every=131), tmp_path / "boxes", points=8, workers=2)
    assert [r.item for r in dataset.rejections if r.reason == CRASH] == ["box-0001", "box-0132"]


def test_an_item_that_killed_its_worker_once_is_kept(reference: ShapeDataset, tmp_path: Path) -> None:
    source = Boxes(300, die_at=200, died=str(tmp_path / "died"))
    dataset = build(source, tmp_path / "boxes", points=32, workers=2)
    assert (tmp_path / "died").exists()
    assert contents(dataset.path) == contents(reference.path)


def test_a_build_in_one_process_that_died_goes_on_behind_the_item(tmp_path: Path) -> None:
    arguments = ["source=toy_source:Sudden", "size=20", f"out={tmp_path / 'boxes'}", "points=8", "workers=1"]
    command = [sys.executable, "-m", "align3d.build", *arguments, "die_at=4"]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{HERE}"}
    runs = [subprocess.run(command, env=environment, capture_output=True, text=True) for _ in range(2)]
    assert [run.returncode for run in runs] == [-signal.SIGKILL, 0]
    assert "17 of 8 points" in runs[1].stdout
    assert [r.item for r in ShapeDataset.load(tmp_path / "boxes").rejections if r.reason == CRASH] == [
        "box-0004"
    ]


@pytest.mark.parametrize("size", [20, 300])
def test_a_script_that_would_run_again_in_a_worker(tmp_path: Path, size: int) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(
        "from tests.align3d.toy_source import Boxes\nfrom align3d.pipeline import build\n"
        f"print(len(build(Boxes({size}), {str(tmp_path / 'boxes')!r}, points=8, workers=2)))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True)
    if size == 20:  # one shard, which is read in the script's own process
        assert (done.returncode, done.stdout, done.stderr) == (0, "18\n", "")
    else:
        assert done.returncode == 1
        assert 'needs `if __name__ == "__main__":` around its own code' in done.stderr
        assert "a worker process died before it read anything" in done.stderr


class Panic(BaseException):
    """As those of compiled readers."""


class Raises(Boxes):
    kinds = (ValueError("bad\nvalue \ud800"), MemoryError(), SystemExit(3), Panic("index out of range"))

    def read(self, item, points, seed):  # type: ignore[no-untyped-def]
        if item.payload < len(self.kinds):
            raise self.kinds[item.payload]
        return super().read(item, points, seed)


@pytest.mark.parametrize("workers", [1, 2])
def test_whatever_a_reader_raises_is_the_rejection_of_its_item(tmp_path: Path, workers: int) -> None:
    dataset = build(Raises(6), tmp_path / "boxes", points=16, workers=workers)
    assert dataset.ids == ["box-0004", "box-0005"]
    assert [rejection.reason for rejection in dataset.rejections] == [
        "cannot be read: ValueError: bad value \\ud800",
        "cannot be read: MemoryError: ",
        "cannot be read: SystemExit: 3",
        "cannot be read: Panic: index out of range",
    ]


class Gray(Boxes):
    def read(self, item, points, seed):  # type: ignore[no-untyped-def]
        record = super().read(item, points, seed)
        lost = ("texture 'a': cut", "texture 'b': cut") if item.payload % 2 else ()
        return replace(record, lost_colors=lost)


def test_lost_colors_are_listed_by_shape(tmp_path: Path) -> None:
    dataset = build(Gray(6), tmp_path / "boxes", points=16, workers=1)
    assert dataset.manifest.lost_colors == 3
    assert [(loss.item, loss.reason) for loss in dataset.lost_colors[:3]] == [
        ("box-0001", "texture 'a': cut"),
        ("box-0001", "texture 'b': cut"),
        ("box-0003", "texture 'a': cut"),
    ]
    assert len(ShapeDataset.load(dataset.path).lost_colors) == 6


class Guessed(Boxes):
    def read(self, item, points, seed):  # type: ignore[no-untyped-def]
        record = super().read(item, points, seed)
        return replace(record, notes=("a guess \ud800",) if item.payload == 1 else ())


def test_notes_on_shapes_are_listed(tmp_path: Path) -> None:
    dataset = build(Guessed(4), tmp_path / "boxes", points=16, workers=1)
    assert [(note.item, note.reason) for note in dataset.notes] == [("box-0001", "a guess \\ud800")]
    assert build(Boxes(4), tmp_path / "other", points=16, workers=1).notes == []


class Surrogates(Boxes):
    """Ids, texts and reasons that no file of UTF-8 can hold."""

    def items(self):  # type: ignore[no-untyped-def]
        return [
            replace(item, id=f"{item.id}\ud800" if item.payload < 2 else item.id) for item in super().items()
        ]

    def read(self, item, points, seed):  # type: ignore[no-untyped-def]
        if item.payload == 0:
            raise RejectedItem("no \udfff")
        record = super().read(replace(item, id="a"), points, seed)
        if item.payload == 2:
            return replace(record, id=item.id, source="\ud800")
        return replace(record, id=item.id, lost_colors=("lost \ud800",))


def test_halves_of_surrogate_pairs_cost_their_item_alone(tmp_path: Path) -> None:
    dataset = build(Surrogates(5), tmp_path / "boxes", points=16, workers=1)
    assert dataset.ids == ["box-0003", "box-0004"]
    assert [rejection.item for rejection in dataset.rejections] == [
        "box-0000\\ud800",
        "box-0001\\ud800",
        "box-0002",
    ]
    assert dataset.rejections[0].reason == "no \\udfff"
    assert "half of a surrogate pair" in dataset.rejections[1].reason
    assert dataset.lost_colors[0].reason == "lost \\ud800"


def test_leftovers_of_another_build_are_not_used(reference: ShapeDataset, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(Boxes(300, stop_at=200), tmp_path / "boxes", points=32, seed=1, workers=1)
    assert contents(build(Boxes(300), tmp_path / "boxes", points=32, workers=1).path) == contents(
        reference.path
    )


def test_same_request_is_not_built_again_and_another_replaces(tmp_path: Path) -> None:
    first = build(Boxes(20), tmp_path / "boxes", points=16, workers=1)
    stamp = (first.path / "manifest.json").stat().st_mtime_ns
    again = build(Boxes(20), tmp_path / "boxes", points=16, workers=1)
    assert (again.path / "manifest.json").stat().st_mtime_ns == stamp
    other = build(Boxes(21), tmp_path / "boxes", points=16, workers=1)
    assert len(other) == len(first)  # box 20 is a rejection
    assert (len(first.points(range(18))), other.hash) == (18, first.hash)  # the old mapping stays readable
    assert build(Boxes(20), tmp_path / "boxes", points=16, seed=1, workers=1).hash != first.hash


def test_cache_is_keyed_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIGN3D_CACHE", str(tmp_path))
    monkeypatch.setitem(SOURCES, "boxes", Boxes)
    assert default_cache() == tmp_path
    first = load_or_build("boxes", points=16, workers=1, size=12)
    assert first.path.parent == tmp_path
    assert load_or_build("boxes", points=16, workers=1, size=12).path == first.path
    assert load_or_build("boxes", points=16, workers=1, size=13).path != first.path
    assert load_or_build("boxes", points=16, workers=1, size=12, seed=2).path != first.path


def test_one_seed_for_source_and_sampling(tmp_path: Path) -> None:
    same = [load_or_build("procedural", cache=tmp_path, points=16, workers=1, size=4, seed=s) for s in (0, 1)]
    assert same[0].content_hashes != same[1].content_hashes


def test_wrong_settings_are_refused(tmp_path: Path) -> None:
    for settings in ({"points": 0}, {"points": 2.5}, {"seed": -1}, {"workers": 0}, {"points": True}):
        with pytest.raises(DataError, match="expected a whole number"):
            build(Boxes(3), tmp_path / "boxes", **settings)  # type: ignore[arg-type]
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.txt").write_text("precious")
    with pytest.raises(DataError, match="not a dataset; choose another folder"):
        build(Boxes(3), tmp_path / "other")
    with pytest.raises(DataError, match="nothing to read"):
        build(Boxes(0), tmp_path / "boxes")


class AllBad(Boxes):
    def read(self, item, points, seed):  # type: ignore[no-untyped-def]
        return super().read(type(item)(item.id, 6), points, seed)


class MixedUp(Boxes):
    def read(self, item, points, seed):  # type: ignore[no-untyped-def]
        record = super().read(item, points, seed)
        object.__setattr__(record, "up_axis", "xyz"[item.payload % 3])
        return record


class WrongRecord(Boxes):
    def read(self, item, points, seed):  # type: ignore[no-untyped-def]
        return super().read(item, points + item.payload, seed)


class Twice(Boxes):
    def items(self):  # type: ignore[no-untyped-def]
        return [*super().items(), *super().items()]


def test_faulty_sources_are_told_so(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"none of 5 items can be used; the first: box-0000: a box of no size"
    ):
        build(AllBad(5), tmp_path / "boxes", workers=1)
    with pytest.raises(DataError, match="different up axes"):
        build(MixedUp(5), tmp_path / "boxes", points=16, workers=1)
    with pytest.raises(DataError, match="two items have the id 'box-0000'"):
        build(Twice(5), tmp_path / "boxes", points=16, workers=1)
    dataset = build(WrongRecord(5), tmp_path / "boxes", points=16, workers=1)
    assert len(dataset) == 1
    assert "points is float16[17, 3], expected float16[16, 3]" in dataset.rejections[0].reason


def damage(folder: Path, name: str, change) -> None:  # type: ignore[no-untyped-def]
    (path,) = folder.glob(name)
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("manifest.json", lambda data: data[: len(data) // 2], r"damaged dataset: .*json is not JSON"),
        ("manifest.json", lambda data: b"[]", r"damaged dataset: .*json has no schema"),
        (
            "manifest.json",
            lambda data: data.replace(b'"rows": 18', b'"rows": 17', 1),
            "checksum does not match",
        ),
        (
            "manifest.json",
            lambda data: data.replace(b'"schema": 3', b'"schema": 4'),
            "schema 4, and this version reads",
        ),
        ("manifest.json", lambda data: b'{"schema": 1}', "checksum does not match"),
        ("*/data-00000-of-00001.arrow", lambda data: data[:-100], r"is damaged: .* bytes, expected"),
    ],
)
def test_damaged_datasets_are_refused(tmp_path: Path, name: str, change, message: str) -> None:  # type: ignore[no-untyped-def]
    path = build(Boxes(20), tmp_path / "boxes", points=16, workers=1).path
    damage(path, name, change)
    with pytest.raises(DataError, match=message):
        ShapeDataset.load(path)


def test_flipped_bits_are_found_on_request(tmp_path: Path) -> None:
    path = build(Boxes(20), tmp_path / "boxes", points=16, workers=1).path
    ShapeDataset.load(path, verify=True)
    damage(
        path, "*/data-00000-of-00001.arrow", lambda data: data[:3000] + bytes([data[3000] ^ 1]) + data[3001:]
    )
    with pytest.raises(DataError, match=r"00001\.arrow is damaged: its SHA-256 is not"):
        ShapeDataset.load(path, verify=True)


def test_build_killed_while_it_was_put_together(reference: ShapeDataset, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(Boxes(300, stop_at=299), tmp_path / "boxes", points=32, workers=1)
    (tmp_path / "boxes.new").mkdir()
    os.replace(tmp_path / "boxes.partial/data-00000.arrow", tmp_path / "boxes.new/data-00000-of-00003.arrow")
    dataset = build(Boxes(300), tmp_path / "boxes", points=32, workers=1)
    assert contents(dataset.path) == contents(reference.path)


def test_no_dataset_says_how_to_build_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no dataset at .*python -m align3d\.build source="):
        ShapeDataset.load(tmp_path / "none")


def test_command_prints_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["source=toy_source:Boxes", f"out={tmp_path / 'a'}", "size=20", "points=16", "workers=1"])
    printed = capsys.readouterr().out
    assert code == 0
    for words in ("18 of 16 points", "36", "2 a box of no size", str(tmp_path / "a")[:20]):
        assert words in printed
    manifest = json.loads((tmp_path / "a/manifest.json").read_text())
    assert (manifest["rows"], manifest["points"], manifest["seed"]) == (18, 16, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "source=NAME is missing"),
        (["source=kicad"], "out=DIR is missing"),
        (["source=kicd", "out=x"], "no such source; did you mean kicad?"),
        (
            ["source=kicad", "out=x", "familes=LED"],
            "familes: no such setting; did you mean families? (settings: ",
        ),
        (["source=kicad", "out=x", "size"], "'size': expected key=value, as in"),
        (["source=kicad", "out=x", "out=y"], "out is given twice"),
        (["source=kicad", "out=x", "size=many"], "size=many: expected a valid integer"),
        (["source=kicad", "out=x", "root=/nowhere"], "data=kicad: no library at /nowhere/3dmodels"),
        (["source=kicad", "out=x", "root=/nowhere", "points=2k"], "points=2k: expected a valid integer"),
        (["source=kicad", "out=x", "--size", "5"], "--size: settings have no dashes; write size=5"),
        (["source=nowhere:Shapes", "out=x"], "expected package.module:Class"),
        (["source=procedural", "size=2", f"out={__file__}/x"], "/x.lock: no lock can be made there (File"),
        (["source=procedural", "size=2", f"out={__file__}/x/y"], "/y.lock: no lock can be made there (Not"),
        (["source=procedural", "size=2", "out=/proc/x"], "/proc/x.lock: no lock can be made there (No such"),
        (["source=procedural", "size=2", "out=."], "out=.: expected the name of a folder"),
        (["source=toy_source:Boxes", "size=0", "out=x"], "nothing to read"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert message in printed.err
    assert len(printed.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_help_lists_the_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert "source=kicad: Models of a KiCad library" in printed
    assert "  twins=0.5" in printed
    assert max(map(len, printed.splitlines())) <= 120


def test_the_source_in_the_documentation_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs/datasets.md").read_text(encoding="utf-8")
    code = next(block for block in text.split("```python\n") if block.startswith("# my_spheres.py"))
    (tmp_path / "my_spheres.py").write_text(code.partition("```")[0], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    out = tmp_path / "spheres"
    assert main(["source=my_spheres:Spheres", f"out={out}", "size=5", "points=64", "workers=1"]) == 0
    monkeypatch.delitem(SOURCES, "spheres")
    dataset = ShapeDataset.load(out)
    assert dataset.captions[4] == ["a sphere 10 cm wide"]
    assert not dataset.rejections
