"""Journals that were cut, emptied, flipped or removed: what is missing is told, and nothing is made up."""

import json
import random
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from experiments.run_folder.journal import Journal, spans
from experiments.run_folder.metrics_log import MetricsLogger
from tests.durable.test_checksums import flipped

STEPS = 30


def written(folder: Path, steps: int = STEPS) -> tuple[Path, dict[str, Any]]:
    """A journal of so many steps and what a checkpoint notes of it, with two lines that came later."""
    journal = Journal(folder / "metrics.jsonl")
    for step in range(steps + 2):
        if step == steps:
            noted = journal.noted()
        journal.append(json.dumps({"step": step, "loss/total": 1 / (1 + step)}))
    journal.close()
    return journal.path, noted


def steps_of(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def resumed(path: Path, noted: dict[str, Any]) -> Journal:
    """The journal of a run that goes on for one step, and no byte of which is NUL."""
    journal = Journal(path, noted, STEPS)
    journal.append(json.dumps({"step": STEPS}))
    journal.close()
    assert b"\0" not in path.read_bytes()
    return journal


def test_a_whole_one_goes_on_where_the_checkpoint_stood(tmp_path: Path, capsys: Any) -> None:
    path, noted = written(tmp_path)
    assert resumed(path, noted).whole
    assert steps_of(path) == list(range(STEPS + 1))
    assert not capsys.readouterr().err


@pytest.mark.parametrize("harm", ["emptied", "removed"])
def test_an_empty_one_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str], harm: str) -> None:
    path, noted = written(tmp_path)
    path.write_bytes(b"") if harm == "emptied" else path.unlink()
    assert not resumed(path, noted).whole
    assert steps_of(path) == [STEPS]
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"{path} is damaged: 30 of 30 lines are missing, of step 0 to 29" in told


@pytest.mark.parametrize("seed", range(4))
def test_a_cut_one_says_how_many_lines_are_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], seed: int
) -> None:
    path, noted = written(tmp_path)
    whole = path.read_bytes()
    for length in random.Random(seed).sample(range(1, noted["bytes"]), 10):
        path.write_bytes(whole[:length])
        resumed(path, noted)
        there = steps_of(path)
        assert there == [*range(len(there) - 1), STEPS]
        left = STEPS - len(there) + 1
        assert f"{left} of 30 line{'s are' if left > 1 else ' is'} missing" in capsys.readouterr().err
        assert path.with_name("metrics.jsonl.damaged").read_bytes() == whole[:length]


@pytest.mark.parametrize("seed", range(4))
def test_a_flipped_one_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], seed: int) -> None:
    path, noted = written(tmp_path)
    whole = path.read_bytes()
    for bit in random.Random(seed).sample(range(8 * noted["bytes"]), 30):
        path.write_bytes(whole)
        flipped(path, bit)
        assert not resumed(path, noted).whole
        assert f"{path} is damaged: " in capsys.readouterr().err
        assert steps_of(path)[-1] == STEPS


def test_lines_that_were_taken_out_or_damaged_are_named(tmp_path: Path, capsys: Any) -> None:
    path, noted = written(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], *lines[5:9], b"\xff torn\n", *lines[10:]]))
    resumed(path, noted)
    told = capsys.readouterr().err
    assert "3 of 30 lines are missing, of step 3 to 4, 9; line 8 cannot be read" in told
    assert steps_of(path) == [step for step in range(STEPS + 1) if step not in (3, 4, 9)]


def test_a_line_that_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    script = f"""
import resource, sys
from experiments.run_folder.journal import Journal
from pathlib import Path
journal = Journal(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))
while True:
    journal.append('{{"step": 1, "words": "{"x" * 300}"}}')
"""
    path = tmp_path / "metrics.jsonl"
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", script, str(path)], cwd=root, capture_output=True, text=True)
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith(f"durable.errors.NoSpaceError: {path}: cannot be written")
    assert [len(text) for text in path.read_text().splitlines()] == [324, 324, 324]


BOARD = """
import resource, sys
from experiments.run_folder.metrics_log import MetricsLogger
from pathlib import Path
log = MetricsLogger(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
import numpy as np
pixels = np.random.default_rng(0).integers(0, 256, (900, 900, 3)).astype(np.uint8)
try:
    for step in range(20):
        log.image(step, "noise", pixels)
        log.flush()
except ValueError as error:
    print("told:", error)
"""


def test_a_limit_that_tensorboard_meets_is_one_line(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", BOARD, str(tmp_path)], cwd=root, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0
    assert done.stdout.startswith(f"told: {tmp_path / 'tensorboard'}: cannot be written")
    assert "Traceback" not in done.stderr
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 2_000_000


def test_a_log_says_whether_it_is_whole(tmp_path: Path) -> None:
    path, noted = written(tmp_path)
    log = MetricsLogger(tmp_path, noted, STEPS)
    assert log.whole
    log.close()
    path.write_bytes(b"")
    log = MetricsLogger(tmp_path, noted, STEPS)
    assert not log.whole
    log.close()


def test_spans_are_short() -> None:
    assert spans([0, 1, 2, 7, 9, 10]) == "0 to 2, 7, 9 to 10"
    assert spans(range(0, 100, 2)) == "0, 2, 4, 6, 8, 10, and others"
