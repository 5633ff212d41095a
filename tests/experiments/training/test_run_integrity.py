"""Runs of the real command that meet a second process, a full disk and damaged files."""

import json
import os
import random
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.durable.test_checksums import flipped
from tests.experiments.training.test_resume import lines_of

ROOT = Path(__file__).parents[3]
SETTINGS = shlex.split("""
    agent=none model=tiny device=cpu threads=1 data.size=64 data.points=128 data.test=12 data.reward=12
    model.points=128 eval.candidates=8 eval.grounding=0 train.batch_size=8 train.group=4 train.epochs=4
    train.hard_epochs=0 train.checkpoint_every=3 train.images_every=0 train.reuse=false memory=off
    dap.mode=off
""")
LIMIT = 100_000
"""Bytes: less than a checkpoint takes."""


def command(folder: Path, *more: str) -> list[str]:
    words = [*SETTINGS, f"cache={folder.parent / 'cache'}", f"hydra.run.dir={folder}", *more]
    return [sys.executable, "-m", "experiments.run", *words]


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))


def run(folder: Path, *more: str, full: bool = False) -> subprocess.CompletedProcess[str]:
    limit = limited if full else None
    return subprocess.run(
        command(folder, *more), cwd=ROOT, capture_output=True, text=True, timeout=400, preexec_fn=limit
    )


def metrics_of(folder: Path) -> dict[str, object]:
    return json.loads((folder / "results.json").read_text())["metrics"]


def faults(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Lines on stderr but for those of progress bars, of a run that was refused."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("error: ")]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a whole run, and of one that was killed between its second checkpoint and its last."""
    base = tmp_path_factory.mktemp("runs")
    done = run(base / "whole")
    assert done.returncode == 0, done.stderr
    folder = base / "cut"
    with subprocess.Popen(
        command(folder), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        path = folder / "metrics.jsonl"
        while not path.exists() or path.read_bytes().count(b"\n") < 8:
            assert process.poll() is None
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGSTOP)
        second = run(folder, "resume=true")
        (line,) = faults(second)
        assert f"hydra.run.dir={folder}: another process is at work there" in line
        assert f"(process {process.pid} on " in line
        third = run(folder)
        assert faults(third) == [line]
        os.kill(process.pid, signal.SIGKILL)
    assert (folder / ".lock").exists()  # of the killed one, and free
    assert len(list((folder / "checkpoints").glob("step-*"))) == 2
    return base


def copied(base: Path, name: str, tmp_path: Path) -> Path:
    folder = base / f"{tmp_path.name}-{name}"
    shutil.copytree(base / name, folder)
    return folder


def test_a_run_that_met_a_full_disk_goes_on(base: Path, tmp_path: Path) -> None:
    folder = copied(base, "cut", tmp_path)
    before = sorted(path.name for path in (folder / "checkpoints").iterdir())
    (line,) = faults(run(folder, "resume=true", full=True))
    assert f"{folder / 'checkpoints'}/step-" in line
    assert "the file is larger than the limit of the process" in line
    assert " are needed" in line
    assert line.endswith(f"resume=true hydra.run.dir={folder} goes on from step {int(before[-1][5:])}")
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == before
    assert not (folder / ".lock").exists()
    done = run(folder, "resume=true")
    assert done.returncode == 0, done.stderr
    assert lines_of(folder) == lines_of(base / "whole")
    assert metrics_of(folder) == metrics_of(base / "whole")


def test_a_run_that_finds_the_disk_full_says_that_nothing_was_saved(base: Path, tmp_path: Path) -> None:
    folder = base / f"{tmp_path.name}-new"
    (line,) = faults(run(folder, full=True))
    assert line.endswith(f"resume=true hydra.run.dir={folder} begins anew")
    assert {path.name for path in folder.iterdir()} == {
        "config.yaml",
        "metrics.jsonl",
        "checkpoints",
        "tensorboard",
    }
    assert not list((folder / "checkpoints").iterdir())


@pytest.mark.parametrize("seed", range(2))
def test_damaged_files_of_a_cut_run_leave_its_numbers(base: Path, tmp_path: Path, seed: int) -> None:
    folder, draws = copied(base, "cut", tmp_path), random.Random(seed)
    older, newest = sorted((folder / "checkpoints").iterdir())
    steps = int(older.name[5:])
    path = newest / draws.choice(["state.json", "tensors.safetensors"])
    flipped(path, 8 * draws.randrange(200, path.stat().st_size - 100) + 1)
    journal = folder / "metrics.jsonl"
    content = journal.read_bytes()
    journal.write_bytes(content[: draws.randrange(len(content.splitlines()[0]))])
    done = run(folder, "resume=true")
    assert done.returncode == 0, done.stderr
    assert f"{path} is damaged: " in done.stderr
    assert f"{journal} is damaged: {steps} of {steps} lines are missing" in done.stderr
    assert lines_of(folder) == lines_of(base / "whole")[steps:]
    assert metrics_of(folder) == metrics_of(base / "whole")


def test_damaged_results_are_made_anew_and_settings_are_not(base: Path, tmp_path: Path) -> None:
    folder = copied(base, "whole", tmp_path)
    path = folder / "results.json"
    flipped(path, 8 * path.read_text().index('"metrics"') + 8 * 40)
    done = run(folder, "resume=true")
    assert done.returncode == 0, done.stderr
    assert f"{path} is damaged (" in done.stderr
    assert metrics_of(folder) == metrics_of(base / "whole")
    assert lines_of(folder) == lines_of(base / "whole")
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("epochs: 4", "epochs: 5"))
    (line,) = faults(run(folder, "resume=true"))
    assert f"{config} is damaged" in line
