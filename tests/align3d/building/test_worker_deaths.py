"""Deaths in a build: interrupts, kills and items that end their process cost nothing else."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from align3d.building.shard_pools import CRASH
from align3d.dataset import ShapeDataset
from align3d.pipeline import build
from tests.align3d.building.built_boxes import contents
from tests.align3d.toy_source import Boxes

HERE = Path(__file__).parents[1]
ROOT = HERE.parents[1]


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
    assert contents(tmp_path / "boxes", but="README.md") == contents(reference.path, but="README.md")


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


def test_leftovers_of_another_build_are_not_used(reference: ShapeDataset, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(Boxes(300, stop_at=200), tmp_path / "boxes", points=32, seed=1, workers=1)
    assert contents(build(Boxes(300), tmp_path / "boxes", points=32, workers=1).path) == contents(
        reference.path
    )


def test_build_killed_while_it_was_put_together(reference: ShapeDataset, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(Boxes(300, stop_at=299), tmp_path / "boxes", points=32, workers=1)
    (tmp_path / "boxes.new").mkdir()
    os.replace(tmp_path / "boxes.partial/data-00000.arrow", tmp_path / "boxes.new/data-00000-of-00003.arrow")
    dataset = build(Boxes(300), tmp_path / "boxes", points=32, workers=1)
    assert contents(dataset.path) == contents(reference.path)
