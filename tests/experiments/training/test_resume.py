"""Runs of the real command, as processes: one uninterrupted, one killed and resumed."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SETTINGS = shlex.split("""
    agent=mcts agent.budget=8 env.horizon=3 model=tiny device=cpu threads=1
    data.size=96 data.points=256 data.test=24 data.reward=16 eval.candidates=8
    train.batch_size=16 train.group=8 train.epochs=6 train.hard_epochs=2
    train.checkpoint_every=3 train.images_every=12 train.reuse=false
    dap.mode=both dap.period=3 dap.warmup=0.3 dap.queries=4 dap.candidates=4 dap.agent_steps=150
    dap.score_weight=1 train.shift=[grey,partial] train.corrupt=0.5 env.shift=[clean,jitter:3]
""")


def command(folder: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "experiments.run", *SETTINGS, f"hydra.run.dir={folder}", *more]


def run(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(folder, *more), cwd=ROOT, capture_output=True, text=True, timeout=300)


def lines_of(folder: Path) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "time"} for line in lines]


def results_of(folder: Path) -> dict[str, object]:
    results = json.loads((folder / "results.json").read_text())
    return {key: results[key] for key in ("schema", "seed", "dataset", "metrics", "agent", "memory", "steps")}


def kill_after(command: list[str], folder: Path, lines: int, by: signal.Signals = signal.SIGKILL) -> str:
    """Starts a command and kills it as soon as its run has written so many lines; what it told."""
    path = folder / "metrics.jsonl"
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None and (not path.exists() or path.read_bytes().count(b"\n") < lines):
            time.sleep(0.01)
        assert process.poll() is None, "the run was over before it could be killed"
        os.kill(process.pid, by)
        return process.communicate(timeout=120)[1]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    done = run(folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_a_run_leaves_what_is_promised(uninterrupted: Path) -> None:
    found = {path.name for path in uninterrupted.iterdir()}
    assert found == {
        "config.yaml",
        "metrics.jsonl",
        "results.json",
        "results.html",
        "attention.json",
        "attention.png",
        "search.png",
        "checkpoints",
        "memory.safetensors",
        "tensorboard",
    }
    metrics = json.loads((uninterrupted / "results.json").read_text())["metrics"]
    assert metrics.keys() == {"baseline", "memory", "reranked", "fixed", "final", "ceiling"}
    assert all(0 <= value <= 1 for row in metrics.values() for value in row.values())
    timing = json.loads((uninterrupted / "results.json").read_text())["timing"]
    assert timing.keys() == {f"{phase}_seconds" for phase in ("data", "train", "agent", "evaluate")}
    assert timing["data_seconds"] > 0
    lines = lines_of(uninterrupted)
    assert [line["step"] for line in lines] == list(range(len(lines)))
    assert {line["phase"] for line in lines} == {"train", "agent", "evaluate"}
    assert all("reward/external" in line for line in lines if line["phase"] == "agent")
    assert any("loss/distill" in line for line in lines)


def test_killed_and_resumed_ends_with_the_same_numbers(uninterrupted: Path, tmp_path: Path) -> None:
    whole = lines_of(uninterrupted)
    training = sum(line["phase"] == "train" for line in whole)
    folder = tmp_path / "cut"
    kill_after(command(folder), folder, lines=training // 2 + 1)  # between two checkpoints of the training
    kill_after(command(folder, "resume=true"), folder, lines=training + 2)  # and again while the agent learns
    done = run(folder, "resume=true")
    assert done.returncode == 0, done.stderr
    assert lines_of(folder) == whole
    assert results_of(folder) == results_of(uninterrupted)


def test_an_interrupt_saves_the_step_and_says_so(uninterrupted: Path, tmp_path: Path) -> None:
    whole = lines_of(uninterrupted)
    training = sum(line["phase"] == "train" for line in whole)
    folder, seldom = tmp_path / "cut", "train.checkpoint_every=0"
    for more, lines, by in (((), 4, signal.SIGINT), (("resume=true",), training + 2, signal.SIGTERM)):
        told = kill_after(command(folder, seldom, *more), folder, lines, by).splitlines()[-1]
        step = len(lines_of(folder))
        assert step >= lines
        assert told.endswith(f"resume=true hydra.run.dir={folder} goes on from step {step}")
    done = run(folder, seldom, "resume=true")
    assert done.returncode == 0, done.stderr
    assert lines_of(folder) == whole
    assert results_of(folder) == results_of(uninterrupted)


def test_a_run_that_is_done_shows_its_table_again(uninterrupted: Path) -> None:
    before = (uninterrupted / "metrics.jsonl").read_bytes()
    done = run(uninterrupted, "resume=true")
    assert done.returncode == 0, done.stderr
    for row in ("exact KNN on global embeddings", "exact KNN + memory", "HAF + memory, fixed", "HAF + agent"):
        assert row in done.stdout
    assert (uninterrupted / "metrics.jsonl").read_bytes() == before
