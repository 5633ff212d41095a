"""The command under ``torchrun``: one run folder, and a killed run that goes on to the same numbers."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from experiments.run_folder import checkpoint
from experiments.settings import command
from tests.experiments.processes.test_launch import PLACE

ROOT = Path(__file__).parents[3]
SETTINGS = shlex.split("""
    agent=none model=tiny device=cpu data.size=40 data.points=256 data.test=8 data.reward=8 data.workers=1
    eval.candidates=8 eval.grounding=8 train.batch_size=8 train.group=4 train.epochs=6 train.hard_epochs=2
    train.checkpoint_every=4 train.images_every=0 train.reuse=false
""")


def torchrun(folder: Path, *more: str) -> subprocess.Popen[str]:
    """Two processes, started where nothing else is."""
    folder.mkdir(exist_ok=True)
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "experiments.run"]
    return subprocess.Popen(
        [sys.executable, *words, *SETTINGS, f"cache={folder.parent / 'cache'}", *more],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def lines_of(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "time"} for line in lines]


def results_of(run: Path) -> dict[str, Any]:
    results = json.loads((run / "results.json").read_text())
    return {key: results[key] for key in ("processes", "dataset", "metrics", "grounding", "memory", "steps")}


def process_of_rank(rank: int, parent: int) -> int:
    """The process of a rank among the children of another."""
    for number in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        if f"RANK={rank}" in Path(f"/proc/{number}/environ").read_text().split("\0"):
            return int(number)
    raise AssertionError(f"no process of rank {rank}")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a run was not interrupted."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    done = torchrun(folder)
    _, told = done.communicate(timeout=900)
    assert done.returncode == 0, told
    return folder


def run_in(folder: Path) -> Path:
    (run,) = folder.glob("outputs/*/*")
    return run


def test_two_processes_write_one_run_folder(whole: Path) -> None:
    assert [path.name for path in whole.iterdir()] == ["outputs"]
    run = run_in(whole)
    assert results_of(run)["processes"] == 2
    assert not (run / ".lock").exists()
    lines = lines_of(run)
    assert [line["step"] for line in lines] == list(range(25))
    assert {line["phase"] for line in lines} == {"train", "evaluate"}
    assert len(list((run / "tensorboard").iterdir())) == 1


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found in /proc")
def test_one_that_is_killed_ends_the_run_which_goes_on_to_the_same_numbers(whole: Path) -> None:
    folder = whole.parent / "cut"
    journal = folder / "run" / "metrics.jsonl"
    process = torchrun(folder, "hydra.run.dir=run")
    while process.poll() is None and (not journal.exists() or journal.read_bytes().count(b"\n") < 10):
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()[1]
    os.kill(process_of_rank(1, process.pid), signal.SIGKILL)
    _, told = process.communicate(timeout=600)
    assert process.returncode != 0
    assert "rank0]: Traceback" not in told
    assert told.count("error: ") <= 1
    if "error: " in told:  # torchrun may have ended this one before it could say so
        assert "error: one of the 2 processes of this run has ended" in told
        assert "torchrun --nproc-per-node=2 -m experiments.run resume=true hydra.run.dir=" in told
    place = checkpoint.latest(folder / "run" / "checkpoints")
    assert place is not None
    assert checkpoint.step_of(place) < 24
    resumed = torchrun(folder, "hydra.run.dir=run", "resume=true")
    _, told = resumed.communicate(timeout=900)
    assert resumed.returncode == 0, told
    assert lines_of(folder / "run") == lines_of(run_in(whole))
    assert results_of(folder / "run") == results_of(run_in(whole))


def test_a_sweep_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in {**PLACE, "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["run", "-m", "seed=0,1"])
    with pytest.raises(SystemExit) as left:
        command.main(lambda config: None)
    assert left.value.code == command.USAGE_EXIT
    assert capsys.readouterr().err.startswith("error: -m by 4 processes: a sweep starts its runs itself")
    assert not command.is_run(["-m", "seed=0,1"])
    assert not command.is_run(["--help"])
    assert command.is_run(["seed=0"])
    assert not list(tmp_path.iterdir())
