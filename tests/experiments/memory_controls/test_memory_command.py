"""The command that measures controls of a memory: on runs of the real command, and with mistakes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from durable.checksums import write_json
from experiments import memory as command
from experiments.memory_controls.control_options import CONTROLS
from tests.experiments.training.test_remembering_runs import run

MASTS = "tests.experiments.evaluation.masts:Masts"
DIRECTIONS = ["text_to_shape", "shape_to_text"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "finished"
    done = run(folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_control_of_a_run(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    again = tmp_path / "again"
    shutil.copytree(finished, again)
    few = ["sizes=20,40", "orders=5", "resamples=50", "queries=2", f"other={MASTS}", f"out={tmp_path}"]
    assert command.main([f"run={finished},{again}", *few]) == 0
    shown = capsys.readouterr().out
    for words in ("Bank size", "Wrong pairs", "TRANSDUCTIVE, NOT A RESULT", "Zipf(1), 5 orders", "Cost"):
        assert words in shown
    assert shown.splitlines()[-1] == f"memory: {tmp_path / 'memory.json'}"
    written = json.loads((tmp_path / "memory.json").read_text())
    assert written["runs"] == [str(finished), str(again)]
    assert list(written["controls"]) == list(CONTROLS)
    results = json.loads((finished / "results.json").read_text())["metrics"]
    whole = next(case for case in written["controls"]["size"] if case["name"].startswith("all"))
    for direction in DIRECTIONS:
        rows = whole["rows"][direction]
        assert rows["KNN"]["by_run"] == pytest.approx([results["baseline"][f"{direction}/recall@1"]] * 2)
        assert rows["KNN + memory"]["recall@1"] == pytest.approx(results["memory"][f"{direction}/recall@1"])
        assert rows["HAF"]["recall@1"] == pytest.approx(results["reranked"][f"{direction}/recall@1"])
        assert rows["HAF + memory"]["recall@1"] == pytest.approx(results["fixed"][f"{direction}/recall@1"])
    assert [case["name"] for case in written["controls"]["source"]] == [
        "bank procedural, gallery procedural",
        f"bank {MASTS}, gallery procedural",
        f"bank {MASTS}, gallery procedural, strengths of bank procedural",
        f"bank {MASTS}, gallery {MASTS}",
        f"bank procedural, gallery {MASTS}",
        f"bank procedural, gallery {MASTS}, strengths of gallery procedural",
    ]
    queries = [case["queries"]["text_to_shape"] for case in written["controls"]["source"]]
    assert queries == [24] * 3 + [4] * 3  # the test splits of the two galleries
    assert len(written["controls"]["cost"]["by_run"]) == 2


def test_a_run_on_the_default_source_needs_another_one_named(finished: Path, tmp_path: Path, capsys) -> None:
    assert command.main([f"run={finished}", "controls=source", f"out={tmp_path}"]) == 0
    assert "controls=source needs other=" in capsys.readouterr().err
    for other in ("procedural", str(finished)):
        assert command.main([f"run={finished}", "controls=source", f"other={other}"]) == 2
        line = capsys.readouterr().err
        assert f"other={other}: the run is on data=procedural as well" in line


def test_runs_of_different_data_are_refused(finished: Path, tmp_path: Path, capsys) -> None:
    again = tmp_path / "again"
    shutil.copytree(finished, again)
    results = json.loads((again / "results.json").read_text())
    results["dataset"]["test"] += 1
    write_json(again / "results.json", results)
    assert command.main([f"run={finished},{again}"]) == 2
    assert f"run={again}: other data or splits than {finished}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["controls=size"], "give run=FOLDER"),
        (["run=/nowhere"], "run=/nowhere: no config.yaml there"),
        (["run=/a,/a"], "a run is named twice"),
        (["run=/nowhere", "controls=sizes"], "controls=sizes: expected 'size'"),
        (["run=/nowhere", "wrong=1.5"], "wrong=1.5: expected less than or equal to 1"),
        (["run=/nowhere", "sizes=0"], "sizes=0"),
        (["run=/nowhere", "size=3"], "did you mean sizes?"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert words in shown.err


def test_the_help_page_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert "sizes=100,300,1000,3000" in shown
    assert "python -m experiments.memory run=outputs/mine" in shown
