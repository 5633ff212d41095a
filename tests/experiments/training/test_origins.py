"""Runs that are resumed after what they were begun with has changed."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trimesh

from align3d.errors import UserError
from experiments.settings.command import split_flags
from experiments.settings.overrides import check, parse
from experiments.settings.schema import RunConfig, register_sizes
from experiments.training.origins import check_origins

register_sizes()
ROOT = Path(__file__).parents[3]
THERE: dict[str, Any] = {
    "data": "a" * 64,
    "shapes": 60,
    "memory": "b" * 64,
    "caption": "a box",
    "features": [1.0, 0.0],
    "code": {"models": "1", "agents": "1"},
    "versions": {"torch": "2.4", "numpy": "2.0"},
}


def settings(*more: str) -> RunConfig:
    (config,) = check(["agent=none", *more])
    return config


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"data": "c" * 64, "shapes": 80},
            "data=procedural: from hash aaaaaaaaaaaa (60 shapes) to cccccccccccc (80",
        ),
        ({"memory": "c" * 64}, "memory=train: from hash bbbbbbbbbbbb to cccccccccccc"),
        ({"memory": None}, "memory=train: from hash bbbbbbbbbbbb to none"),
        ({"features": [0.9, 0.5]}, "train.text_encoder=minilm: other features of the same caption"),
        ({"features": [1.0, 0.0, 0.0]}, "train.text_encoder=minilm: other features of the same caption"),
    ],
)
def test_what_decides_the_numbers_may_not_change_unasked(
    changes: dict[str, Any], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "my run, a=1"
    with pytest.raises(UserError) as refused:
        check_origins(THERE, THERE | changes, settings(), folder)
    message = str(refused.value)
    assert told in message
    typed = shlex.split(message.partition("go on regardless: ")[2])
    assert [(one.key_or_group, one.value()) for one in parse(split_flags(typed).overrides)] == [
        ("resume", True),
        ("hydra.run.dir", str(folder)),
        ("accept_changes", True),
    ]
    other_data = check_origins(THERE, THERE | changes, settings("accept_changes=true"), folder)
    assert other_data == ("data" in changes)
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"code": {"models": "2", "agents": "1"}}, "code of models; it goes on, but not to the same numbers"),
        ({"versions": {"torch": "2.5", "numpy": "2.0"}}, "torch 2.4 to 2.5; it goes on"),
        ({"versions": {"torch": "2.4"}}, "numpy 2.0 to none; it goes on"),
        ({"features": [1.0, 0.001]}, ""),
        ({}, ""),
    ],
)
def test_what_may_change_the_last_digits_is_told(
    changes: dict[str, Any], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not check_origins(THERE, THERE | changes, settings(), tmp_path)
    shown = capsys.readouterr().err
    assert told in shown if told else shown == ""


def boxes(root: Path, count: int) -> None:
    """A folder of boxes, each with a caption of its own."""
    root.mkdir(exist_ok=True)
    for number in range(count):
        trimesh.creation.box([1, 1 + number % 7, 1 + number / 10]).export(root / f"{number:02d}.stl")
    rows = [f"{number:02d}.stl,box number {number}" for number in range(count)]
    (root / "captions.csv").write_text("\n".join(["path,caption", *rows]))


def test_a_run_whose_data_have_grown_goes_on_only_when_asked(tmp_path: Path) -> None:
    root, folder = tmp_path / "meshes", tmp_path / "run"
    words = f"""
        -m experiments.run data=folder data.root={root} data.points=64 data.test=10 data.reward=10 agent=none
        model=tiny model.points=64 device=cpu threads=1 train.batch_size=8 train.group=4 train.epochs=1
        train.hard_epochs=2 train.reuse=false train.checkpoint_every=1 train.images_every=0 eval.candidates=4
        eval.grounding=0 cache={tmp_path / "cache"} hydra.run.dir={folder}
    """

    def run(*more: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *shlex.split(words), *more],
            cwd=ROOT,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    boxes(root, 60)
    begun = run()
    assert begun.returncode == 0, begun.stderr
    (folder / "results.json").unlink()  # as if it had been cut off while it was evaluated
    for place in sorted((folder / "checkpoints").iterdir())[1:]:
        for file in place.iterdir():
            file.unlink()
        place.rmdir()
    boxes(root, 80)
    refused = run("resume=true")
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].startswith("error: hydra.run.dir=")
    assert "Traceback" not in refused.stderr
    assert "(60 shapes) to " in refused.stderr
    assert "(80 shapes)" in refused.stderr
    typed = refused.stderr.partition("go on regardless: ")[2]
    went_on = run(*shlex.split(typed))
    assert went_on.returncode == 0, went_on.stderr
    assert "it goes on, but not to the same numbers" in went_on.stderr
