"""The commands of the tutorials run as they stand there, with settings that make them small."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.experiments.shape_search.searched_run import write_meshes

ROOT = Path(__file__).parents[2]
TUTORIALS = ROOT / "docs" / "tutorials"
SMALL = shlex.split("""
    agent.budget=4 env.horizon=2 threads=1 device=cpu data.points=256 eval.candidates=8 eval.grounding=0
    train.epochs=2 train.hard_epochs=0 train.batch_size=16 train.group=8 dap.agent_steps=80 dap.validations=2
""")
SIZES = {
    "own_meshes": ["data.test=6", "data.reward=6"],
    "action_family": ["data.size=64", "data.test=12", "data.reward=12"],
}
LEFT = {
    "own_meshes": ["known/manifest.json", "outputs/mine/results.html", "outputs/mine/search/answers.png"],
    "action_family": [
        "outputs/contrast/results.html",
        "outputs/contrast/search.png",
        "multirun/contrast/report/report.html",
    ],
}
"""What a tutorial says that its commands leave."""


def commands(page: str) -> list[list[str]]:
    """The commands of a page, in words."""
    fences = re.findall(
        r"^```sh\n(.*?)^```", (TUTORIALS / f"{page}.md").read_text(), re.MULTILINE | re.DOTALL
    )
    return [shlex.split(line) for fence in fences for line in fence.splitlines()]


def small(words: list[str], page: str) -> list[str]:
    """A command at a tiny size; a sweep with one seed and in one process."""
    if "experiments.run" not in words:
        return words
    more = ["hydra/launcher=basic"] if "-m" in words[2:] else []
    return [*(word.replace("seed=0,1,2", "seed=0") for word in words), *SMALL, *SIZES[page], *more]


@pytest.mark.parametrize("page", sorted(SIZES))
def test_a_tutorial_leaves_what_it_says(page: str, tmp_path: Path) -> None:
    if page == "own_meshes":
        write_meshes(tmp_path / "meshes")
    env = {
        **os.environ,
        "ALIGN3D_CACHE": str(tmp_path / "cache"),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    for words in commands(page):
        assert words[:2] == ["python", "-m"]
        done = subprocess.run(
            [sys.executable, *small(words, page)[1:]],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stderr}"
    assert not [name for name in LEFT[page] if not (tmp_path / name).is_file()]


def test_every_tutorial_is_run() -> None:
    assert sorted(path.stem for path in TUTORIALS.glob("*.md")) == sorted(SIZES)
    assert all(commands(page) for page in SIZES)
