"""What a person sees who types the command wrongly."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "experiments.run", *arguments, f"hydra.run.dir={folder}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["agnet=mcts"], "did you mean agent=mcts?"),
        (["data=kicad", "data.root=/nowhere"], "/nowhere"),
        (["hydra.nothing=1"], "hydra.nothing"),
    ],
)
def test_one_line_that_says_what_to_do(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = run(tmp_path / "run", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert words in done.stderr


def test_hydras_own_questions_are_answered(tmp_path: Path) -> None:
    done = run(tmp_path, "--cfg", "job", "agent=random", "reward.alpha=0.25")
    assert done.returncode == 0
    assert "alpha: 0.25" in done.stdout
    assert "name: random" in done.stdout
    done = run(tmp_path, "--help")
    assert done.returncode == 0
    assert "mcts" in done.stdout


@pytest.mark.parametrize("module", ["experiments.run", "experiments.tree", "align3d.build"])
def test_help_may_be_cut_off_by_what_reads_it(module: str) -> None:
    command = [sys.executable, "-m", module, "--help"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
