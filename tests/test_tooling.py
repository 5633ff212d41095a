import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from experiments.settings.schema import register_sizes
from scripts.check_docs import check_command, check_page
from scripts.check_results import list_faults

ROOT = Path(__file__).parents[1]
register_sizes()


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(r.name): str(r.specifier) for r in requirements}


def test_every_dependency_is_pinned_within_its_range() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for text in project["dependencies"] + project["optional-dependencies"]["dev"]:
        requirement = Requirement(text)
        pin = pins()[canonicalize_name(requirement.name)]
        assert re.fullmatch(r"==[\w.]+", pin), f"{requirement.name}{pin}"
        assert requirement.specifier.contains(pin.removeprefix("==")), text
    assert pins()["torch"] == "==2.13.0"


def test_make_says_what_is_wrong_with_an_old_python(tmp_path: Path) -> None:
    old = tmp_path / "python3.10"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    for name in ("Makefile", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    done = subprocess.run(
        ["make", "setup", f"PYTHON={old}"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert "is not Python 3.11 or newer" in done.stderr
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("make nothing", "no target nothing"),
        ("python -m experiments.nothing", "no such module"),
        ("python -m experiments.run agnet=mcts", "did you mean agent=mcts?"),
        ('make run ARGS="train.epochs=many"', "expected a valid integer"),
    ],
)
def test_a_command_that_does_not_exist_is_found(line: str, fault: str) -> None:
    (found,) = check_command(line)
    assert fault in found


def test_right_commands_and_other_lines_pass(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```sh\nmake test\napt-get install x  # y\n```\n"
        "```sh\npython -m experiments.run -m agent=mcts,none seed=0,1\n```\n"
    )
    assert not list(check_page(page))
    (tmp_path / "there.md").write_text("# A heading\n## What it's for, in `code`\n")
    page.write_text(
        "[](there.md) [](there.md#a-heading) [](there.md#what-its-for-in-code) [](https://x.org#y)\n"
    )
    assert not list(check_page(page))
    page.write_text("[here](#nowhere)\n[there](there.md#nowhere)\n")
    assert [fault.split(": ", 1)[0][-1] for fault in check_page(page)] == ["1", "2"]
    page.write_text("[gone](gone.md)\n\n```sh\n\nmake nothing\n```\n")
    assert [fault.split(": ", 1)[0][-1] for fault in check_page(page)] == ["1", "5"]


def test_results_that_are_no_better_than_guessing_are_found() -> None:
    good = {"text_to_shape/recall@1": 0.5}
    results = {
        "dataset": {"test": 100},
        "metrics": {"baseline": good, "reranked": good, "final": good},
        "agent": {"name": "mcts", "episodes": 3},
    }
    assert not list_faults(results, 0.1)
    results["metrics"]["final"] = {"text_to_shape/recall@1": 0.01, "text_to_shape/mrr": float("nan")}
    assert len(list_faults(results, 0.1)) == 2
