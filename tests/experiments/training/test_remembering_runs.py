"""Runs of the real command with a memory of another dataset, and with none."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from align3d.pipeline import build
from align3d.sources import make_source
from models import AlignmentMemory
from tests.experiments.training.test_resume import ROOT, kill_after, lines_of, results_of

SETTINGS = shlex.split("""
    agent=none dap.mode=off model=tiny device=cpu threads=1 train.reuse=false train.checkpoint_every=2
    data.size=96 data.points=256 data.test=24 data.reward=16 eval.candidates=8 eval.grounding=0
    train.batch_size=8 train.group=8 train.epochs=2 train.hard_epochs=0
""")


def command(folder: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "experiments.run", *SETTINGS, f"hydra.run.dir={folder}", *more]


def run(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(folder, *more), cwd=ROOT, capture_output=True, text=True, timeout=300)


def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bank") / "other"
    build(make_source("procedural", size=60, seed=5), folder, points=256, workers=1)
    return folder


@pytest.fixture(scope="module")
def remembering(bank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "remembering"
    done = run(folder, f"memory={bank}")
    assert done.returncode == 0, done.stderr
    assert f"memory={bank}: " in done.stderr
    assert " pairs left out, as their shape or caption is among those that are asked for" in done.stderr
    assert "exact KNN + memory" in done.stdout
    return folder


def test_what_was_known_is_saved(bank: Path, remembering: Path) -> None:
    memory = AlignmentMemory.load(remembering / "memory.safetensors")
    said = results(remembering)["memory"]
    assert 0 < len(memory) == said["pairs"]
    assert said["bytes"] == memory.resident_bytes
    assert said["source"] == str(bank)
    assert said["hash"] == json.loads((bank / "manifest.json").read_text())["hash"]
    assert {stage: set(found) for stage, found in said["fixed"].items()} == {
        stage: {"text_to_shape", "shape_to_text"} for stage in ("search", "rerank")
    }
    assert results(remembering)["metrics"].keys() == {
        "baseline",
        "memory",
        "reranked",
        "fixed",
        "final",
        "ceiling",
    }


def test_killed_and_resumed_it_remembers_the_same(bank: Path, remembering: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cut"
    kill_after(command(folder, f"memory={bank}"), folder, lines=3)
    done = run(folder, "resume=true")
    assert done.returncode == 0, done.stderr
    assert lines_of(folder) == lines_of(remembering)
    assert results_of(folder) == results_of(remembering)
    name = "memory.safetensors"
    assert (folder / name).read_bytes() == (remembering / name).read_bytes()


def test_a_run_without_memory_has_none(remembering: Path, tmp_path: Path) -> None:
    done = run(tmp_path / "off", "memory=off")
    assert done.returncode == 0, done.stderr
    assert "+ memory" not in done.stdout
    found = results(tmp_path / "off")
    assert found["memory"] is None
    assert found["metrics"].keys() == {"baseline", "reranked", "final", "ceiling"}
    for row, metrics in found["metrics"].items():
        assert metrics == results(remembering)["metrics"][row], "a memory does not reach into training"
    assert not (tmp_path / "off" / "memory.safetensors").exists()
