"""Sweeps whose arms are processes: of a small program that Hydra runs as it runs the real one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from durable.file_lock import locked
from experiments.run_folder.run_lock import LOCK
from experiments.sweeps.arm_engines import LocalProcesses
from experiments.sweeps.sweep_arm import Arm, surroundings
from experiments.sweeps.sweep_loop import run_arms
from tests.experiments.sweeps.sweep_program import command, make_program, processes, started, sweep, typed_in


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return make_program(tmp_path)


def test_a_failing_arm_stops_no_other_and_is_run_again_alone(program: Path) -> None:
    done = sweep(program, "-m value=1,2,3 bad=2 hydra.launcher.jobs=2")
    assert done.returncode == 1
    assert started(program) == ["1", "2", "3"]
    lines = done.stderr.splitlines()
    assert "[1/3] value=1: started" in lines
    assert any(line.startswith("[3/3] value=3: done in") and "R@1" in line for line in lines)
    assert lines[-2].startswith("2 of 3 runs are done: ")
    assert lines[-1].startswith("error: value=2: exit code 1, value=2 is bad (")
    assert Path(lines[-1].rpartition("(")[2].rstrip(")")).read_text() == "error: value=2 is bad\n"
    results = json.loads((program / "sweep" / "0-1" / "results.json").read_text())
    assert results["threads"] == str(max(1, len(os.sched_getaffinity(0)) // 2))

    again = sweep(program, "-m value=1,2,3 bad=2 resume=true")
    assert again.returncode == 1
    assert started(program) == ["1", "2", "2", "3"]
    assert "[1/3] value=1: done before, R@1 text → shape 10.0 (without calibration 10.0)" in again.stderr

    changed = sweep(program, "-m value=1,2 bad=7 endless=8 resume=true")
    assert "keeps its settings, bad=2 endless=-1 (typed: bad=7 endless=8)" in changed.stderr
    assert started(program) == ["1", "2", "2", "3"]


def test_an_arm_that_goes_on_has_its_settings_in_its_folder(program: Path) -> None:
    assert sweep(program, "-m value=1,2 +trick=often").returncode == 0
    folder = program / "sweep" / "0-1"
    assert "+trick=often" in json.loads((folder / "argv.json").read_text())
    (folder / "results.json").rename(folder / "metrics.jsonl")  # begun, and not done
    assert sweep(program, "-m value=1,2 +trick=often resume=true").returncode == 0
    argv = json.loads((folder / "argv.json").read_text())
    assert "resume=True" in argv
    assert "+trick=often" not in argv


def test_earlier_runs_are_not_overwritten(program: Path) -> None:
    assert sweep(program, "-m value=1").returncode == 0
    refused = sweep(program, "-m value=1,2")
    assert "1 of these runs are there already; add resume=true" in refused.stderr
    assert started(program) == ["1"]
    shared = sweep(program, "-m value=4,5 hydra.sweep.subdir=same")
    assert "2 runs, but 1 different folder names" in shared.stderr
    with locked(program / "sweep" / LOCK):
        second = sweep(program, "-m value=6")
    assert "another process is at work there" in second.stderr
    assert f"(process {os.getpid()} on " in second.stderr
    assert started(program) == ["1"]
    none = sweep(program, "-m value=4,5 hydra.launcher.jobs=0")
    assert "hydra.launcher.jobs=0: expected a whole number from 1" in none.stderr


def test_an_interrupted_sweep_leaves_no_process_behind(program: Path) -> None:
    words = command(program, "-m value=1,2 endless=2 hydra.launcher.jobs=2")
    with subprocess.Popen(words, env=typed_in(), stderr=subprocess.PIPE, text=True) as process:
        record = program / "sweep" / "1-2" / "processes"
        while process.poll() is None and not record.exists():
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "resume=true" in told
    assert not [line for line in processes() if str(program) in line]


def test_a_killed_arm_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dies = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    arms = [Arm("one", [sys.executable, "-c", dies], tmp_path / "one", None)]
    assert run_arms(arms, LocalProcesses(1), 0, tmp_path) == arms
    assert "error: one: killed by SIGKILL" in capsys.readouterr().err


def test_what_the_caller_says_of_threads_holds() -> None:
    assert surroundings(1, {"OMP_NUM_THREADS": "3"})["OMP_NUM_THREADS"] == "3"
    assert surroundings(1, {})["OMP_NUM_THREADS"] == "1"
    assert "OMP_NUM_THREADS" not in surroundings(None, {})
