"""Sweeps on engines that are not ours: Ray, and submitit's processes in the place of SLURM's jobs."""

import importlib.util
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from align3d.errors import UserError
from durable import file_lock
from experiments.reporting.load_runs import find_runs
from experiments.sweeps.sweep_arm import Arm
from experiments.sweeps.sweep_launcher import check_locks
from tests.experiments.reporting.synthetic_runs import write_run
from tests.experiments.sweeps.sweep_program import command, make_program, processes, started, sweep, typed_in


def needs(package: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f"{package} is not installed: pip install 'align3d[cluster]'")


ENGINES = [
    pytest.param("submitit_local", marks=needs("submitit")),
    pytest.param("ray", marks=needs("ray")),
]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return make_program(tmp_path)


def is_alive(process: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False


@pytest.mark.parametrize("engine", ENGINES)
def test_neither_a_failing_arm_nor_a_killed_worker_stops_the_others(program: Path, engine: str) -> None:
    words = f"-m value=1,2,3 bad=2 endless=1 hydra/launcher={engine} hydra.launcher={{jobs:2,cpus:1}}"
    with subprocess.Popen(
        command(program, words), env=typed_in(), stderr=subprocess.PIPE, text=True
    ) as process:
        record = program / "sweep" / "0-1" / "processes"
        while process.poll() is None and not (record.exists() and record.read_text()):
            time.sleep(0.05)
        arm, worker = map(int, record.read_text().split())
        os.kill(worker, signal.SIGKILL)
        _, told = process.communicate(timeout=90)
    assert not is_alive(arm)  # it did not outlive its worker
    assert process.returncode == 1, told
    assert "error: value=2: exit code 1, value=2 is bad (" in told
    again_alone = ["1"] if engine == "ray" else []  # which runs it again by itself
    assert started(program) == sorted(["1", "2", "3", *again_alone])
    if engine == "ray":
        assert "2 of 3 runs are done: " in told
    else:
        assert "1 of 3 runs are done: " in told
        assert "error: value=1: job " in told

    resumed = sweep(program, f"{words} resume=true")
    assert resumed.returncode == 1
    assert "value=3: done before, R@1 text → shape 30.0 (without calibration 30.0)" in resumed.stderr
    assert started(program) == ["1", "1", "2", "2", "3"]
    argv = json.loads((program / "sweep" / "0-1" / "argv.json").read_text())
    assert "resume=true" in [word.lower() for word in argv]  # from where it was
    results = json.loads((program / "sweep" / "0-1" / "results.json").read_text())
    assert results["threads"] == "1"


@pytest.mark.parametrize("engine", ENGINES)
def test_an_interrupted_sweep_leaves_no_process_behind(program: Path, engine: str) -> None:
    words = f"-m value=1,2 endless=2 hydra/launcher={engine} hydra.launcher={{jobs:2,cpus:1}}"
    with subprocess.Popen(
        command(program, words), env=typed_in(), stderr=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None and not (program / "sweep" / "1-2" / "processes").exists():
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "resume=true" in told
    end = time.monotonic() + 10
    while left := [line for line in processes() if "program.py" in line and str(program) in line]:
        assert time.monotonic() < end, left
        time.sleep(0.1)


@needs("submitit")
def test_a_wrong_setting_of_the_queue_is_one_line(program: Path) -> None:
    wrong = sweep(program, "-m value=1 hydra/launcher=submitit_local +hydra.launcher.parameters.patition=gpu")
    assert "hydra/launcher=submitit_local: " in wrong.stderr
    assert "patition" in wrong.stderr
    absent = sweep(program, "-m value=1 hydra/launcher=submitit_slurm")
    assert "hydra/launcher=submitit_slurm: " in absent.stderr
    assert not (program / "sweep" / "started").exists()


SBATCH = """#!/bin/sh
# a queue of one machine: every task of the array that the script asks for, at once
for last; do script=$last; done
size=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\)%.*/\\1/p' "$script")
for task in $(seq 0 "$size"); do
  SLURM_JOB_ID=7$task SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=$task SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1 \\
  SLURM_NODEID=0 SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_JOB_NODELIST=here sh "$script" >/dev/null 2>&1 &
done
echo "Submitted batch job 7"
"""
SRUN = """#!/bin/sh
while [ "$1" != "${1#-}" ]; do case $1 in --output|--error) shift 2;; *) shift;; esac; done
exec "$@"
"""


@needs("submitit")
def test_slurm_gets_the_arms_as_one_array(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = program / "tools"
    tools.mkdir()
    for name, text in {"sbatch": SBATCH, "srun": SRUN}.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    settings = "hydra.launcher={jobs:2,cpus:1,minutes:30} +hydra.launcher.parameters.slurm_partition=gpu"
    done = sweep(program, f"-m value=1,2,3 bad=2 hydra/launcher=submitit_slurm {settings}")
    assert done.returncode == 1, done.stderr
    assert "2 of 3 runs are done: " in done.stderr
    assert "error: value=2: exit code 1, value=2 is bad (" in done.stderr
    asked = (program / "sweep" / ".submitit" / "7" / "7_submission.sh").read_text()
    for line in ("--array=0-2%2", "--partition=gpu", "--time=30", "--cpus-per-task=1"):
        assert f"#SBATCH {line}\n" in asked


def test_a_cache_whose_locks_stay_on_each_machine_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm = Arm("one", [], tmp_path / "sweep" / "one", None, {"cache": str(tmp_path / "cache")})
    check_locks([arm], tmp_path / "sweep")
    device = tmp_path.stat().st_dev
    line = f"23 1 {os.major(device)}:{os.minor(device)} / / rw - nfs server:/ rw,nolock\n"
    monkeypatch.setattr(file_lock, "_mounts", lambda: line)
    with pytest.raises(UserError, match=r"sweep: its locks hold on each machine alone .*nolock"):
        check_locks([arm], tmp_path / "sweep")


def test_the_report_reads_a_sweep_that_is_still_running(tmp_path: Path) -> None:
    write_run(tmp_path / "0-mcts-seed0", agent="mcts", seed=0, reranked=0.4, final=0.41)
    write_run(tmp_path / "1-mcts-seed1", agent="mcts", seed=1, reranked=0.4, final=0.41, finished=False)
    (tmp_path / "1-mcts-seed1.log").touch()
    (tmp_path / ".submitit" / "12").mkdir(parents=True)
    (tmp_path / ".submitit" / "12" / "12_0_result.pkl").write_bytes(b"not to be opened")
    runs, unfinished = find_runs(tmp_path)
    assert [run.folder.name for run in runs] == ["0-mcts-seed0"]
    assert [one.folder.name for one in unfinished] == ["1-mcts-seed1"]
