"""The command that evaluates a run: on its own test split, on other data, and with mistakes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from align3d.pipeline import load_or_build
from experiments import evaluate as command
from experiments.evaluate_run.evaluate_options import TASKS, parse
from experiments.evaluate_run.evaluation_tables import TITLES
from experiments.settings.named_again import DATA
from tests.experiments.shape_search.searched_run import Searched
from tests.experiments.training.test_remembering_runs import ROOT, SETTINGS

FEW = ["resamples=50", "draws=2", "shots=1,2", "levels=0,4", "corruptions=jitter,unit", "device=cpu"]
MASTS = "tests.experiments.evaluation.masts:Masts"
NAMES = {"recall@1": "R@1", "recall@5": "R@5", "mrr": "MRR"}


def written(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "evaluation.json").read_text())


def value(found: dict[str, Any], title: str, name: str) -> float:
    (own,) = (one for one in found["measured"][title] if one["name"] == name)
    assert own["low"] <= own["value"] <= own["high"]
    return own["value"]


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on procedural shapes whose agent acts, whatever that brings."""
    folder = tmp_path_factory.mktemp("runs") / "calibrated"
    words = [word for word in SETTINGS if word not in ("agent=none", "eval.grounding=0")]
    words.append("eval.grounding=24")
    agent = ["agent=random", "dap.agent_steps=40", "dap.keep=last", "dap.validations=1"]
    done = subprocess.run(
        [sys.executable, "-m", "experiments.run", *words, *agent, f"hydra.run.dir={folder}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_retrieval_on_its_own_test_split_is_what_the_run_has_measured(
    calibrated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = [f"run={calibrated}", "tasks=retrieval,zero_shot,grounding", f"out={out}", "parts=24"]
    words += ["resamples=50", "device=cpu"]
    assert command.main(words) == 0
    shown = capsys.readouterr().out
    assert "Cross-modal retrieval, test split of procedural (%)" in shown
    found, results = written(out), json.loads((calibrated / "results.json").read_text())
    metrics = results["metrics"]
    assert results["agent"]["acts"]
    assert metrics["final"] != metrics["reranked"]
    rows = {"KNN": "baseline", "KNN + memory": "memory", "HAF": "reranked", "HAF + agent": "final"}
    for row, own in rows.items():
        for direction, arrow in (("text_to_shape", "text → shape"), ("shape_to_text", "shape → text")):
            for metric, name in NAMES.items():
                expected = pytest.approx(metrics[own][f"{direction}/{metric}"])
                assert value(found["tasks"]["retrieval"], f"{row}, {arrow}", name) == expected
    assert found["tasks"]["retrieval"]["agent"] == "random"
    for title, own in {"captions": "before", "captions, calibrated by the agent": "after"}.items():
        expected = results["grounding"][own]
        for one in found["tasks"]["grounding"]["measured"][title]:
            name = one["name"].replace(" ", "_")
            assert one["value"] == pytest.approx(expected[name])
            assert one["low"] == pytest.approx(expected[f"{name}_low"]) if f"{name}_low" in expected else True
            assert one["count"] == expected["pairs"]
    assert found["data"]["hash"] == results["dataset"]["hash"]
    assert found["data"]["shapes"] == results["dataset"]["test"] == 24
    assert (found["data"]["up_axis"], found["data"]["left_out"], len(found["checkpoint"])) == ("z", [], 64)


def test_embeddings_take_the_place_of_the_runs_on_its_own_splits(calibrated: Path, tmp_path: Path) -> None:
    """Another model that is perfect: a text lies where its shape does."""
    dataset = load_or_build("procedural", size=96, points=256, workers=1)
    own = np.random.default_rng(0).normal(size=(96, 24))
    for name in ("shapes", "texts"):
        np.save(tmp_path / f"{name}.npy", own[::-1])
        rows = "".join(json.dumps({"id": shape}) + "\n" for shape in dataset.ids[::-1])
        (tmp_path / f"{name}.jsonl").write_text(rows)
    words = [f"embeddings={tmp_path / 'shapes.npy'}", f"text_embeddings={tmp_path / 'texts.npy'}"]
    more = ["tasks=retrieval", f"out={tmp_path / 'out'}", "resamples=50"]
    assert command.main([f"run={calibrated}", *words, *more]) == 0
    found = written(tmp_path / "out")
    assert (found["data"]["variant"], found["data"]["shapes"]) == ("test split of procedural", 24)
    for row in ("KNN", "KNN + memory", "ERS", "ERS + memory"):
        assert value(found["tasks"]["retrieval"], f"{row}, text → shape", "R@1") == 1.0
    assert "chosen on split reward" in found["tasks"]["retrieval"]["memory"]["source"]
    assert not [title for title in found["tasks"]["retrieval"]["measured"] if "HAF" in title]


def test_an_agent_acts_on_other_data_beside_known_pairs_that_tell_no_answer(
    calibrated: Path, tmp_path: Path
) -> None:
    words = [f"run={calibrated}", "data=procedural", "data.size=30", "data.seed=7", "tasks=retrieval"]
    assert command.main([*words, f"out={tmp_path}", "resamples=50", "device=cpu"]) == 0
    measured = written(tmp_path)["tasks"]["retrieval"]["measured"]
    assert "HAF + agent, text → shape" in measured
    assert measured["HAF + agent, text → shape"] != measured["HAF, text → shape"]


def test_every_task_on_another_source(
    searched: Searched, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = [f"run={searched.run}", "data=procedural", "data.size=40", "data.families=chair,table"]
    assert command.main([*words, f"out={out}", "agent=none", *FEW]) == 0
    shown = capsys.readouterr()
    assert "Zero-shot classification, all shapes of procedural (%)" in shown.out
    found = written(out)
    assert list(found["tasks"]) == list(TASKS)
    data, tasks = found["data"], found["tasks"]
    assert (data["shapes"], data["variant"], data["categories"]) == (40, "all shapes of procedural", 2)
    assert tasks["zero_shot"]["prompts"]["templates"] == 64
    assert 0 <= value(tasks["zero_shot"], "prompt ensemble", "top-1") <= 1
    assert value(tasks["zero_shot"], "prompt ensemble", "top-3") == 1.0  # of two classes
    assert [own["name"] for own in tasks["zero_shot"]["details"]["by class"]] == ["chair", "table"]
    assert [own["name"] for own in tasks["few_shot"]["measured"]["linear probe"]] == [
        "2-way 1-shot",
        "2-way 2-shot",
    ]
    assert [own["name"] for own in tasks["open_set"]["measured"]["largest cosine"]] == ["AUROC", "FPR95"]
    assert len(tasks["open_set"]["unknown"]) == 1
    assert [own["name"] for own in tasks["robustness"]["details"]["by level"]] == [
        "jitter:0",
        "jitter:4",
        "unit",
    ]
    clean = value(tasks["robustness"], "over corruptions", "clean")
    assert clean == value(tasks["zero_shot"], "prompt ensemble", "top-1")
    assert "mCE" not in [own["name"] for own in tasks["robustness"]["measured"]["over corruptions"]]
    assert tasks["distractors"]["sizes"] == [40, 100]
    assert tasks["distractors"]["distractors"] == 60
    fewer, more = (value(tasks["distractors"], f"KNN, text → {size} shapes", "R@10") for size in (40, 100))
    assert fewer >= more
    assert "HAF + agent, text → shape" not in tasks["retrieval"]["measured"]
    assert value(tasks["retrieval"], "ERS, text → shape", "recall@10") > 0.95
    prompts = tasks["grounding"]["coverage"]["prompts of part names"]
    assert prompts["captions_naming"] == prompts["captions"] > 40
    assert value(tasks["grounding"], "prompts of part names", "mass ratio") > 0
    page = (out / "evaluation.html").read_text()
    for title in TITLES.values():
        assert f"<h2>{title}</h2>" in page
    assert page.count("<svg") >= len(TASKS)
    assert "http" not in page.replace("http://www.w3.org", "")


def test_shapes_are_made_for_galleries_that_are_larger_than_what_is_there(
    searched: Searched, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, words = tmp_path / "run", ["tasks=distractors", "sizes=6,60,400", *FEW]
    shutil.copytree(searched.run, run)
    named = [f"run={run}", f"data.root={searched.meshes}", f"cache={searched.run.parent / 'cache'}"]
    assert command.main([*named, *words, f"out={tmp_path / 'out'}"]) == 0
    found = written(tmp_path / "out")["tasks"]["distractors"]
    assert (found["sizes"], found["distractors"]) == ([6, 60, 400], 394)
    recalls = [value(found, f"KNN, text → {size} shapes", "R@10") for size in found["sizes"]]
    assert recalls == sorted(recalls, reverse=True)
    pieces = [*(run / "retrieval").glob("distractors-*/*.safetensors")]
    assert pieces
    capsys.readouterr()
    changed = [path.stat().st_mtime_ns for path in pieces]
    assert command.main([*named, *words, f"out={tmp_path / 'again'}"]) == 0
    assert [path.stat().st_mtime_ns for path in pieces] == changed
    assert written(tmp_path / "again")["tasks"]["distractors"]["measured"] == found["measured"]
    assert command.main([*named, *words, "generate=false", f"out={tmp_path / 'few'}"]) == 0
    assert "sizes=60,400 left out" in capsys.readouterr().err


def test_shapes_that_the_run_has_learned_from_are_left_out_by_name(
    searched: Searched, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A copy of the run's folder: all but its six test shapes are known to it."""
    copy, out = tmp_path / "copy", tmp_path / "out"
    shutil.copytree(searched.meshes, copy)
    words = [f"run={searched.run}", "data=folder", f"data.root={copy}", f"out={out}", "tasks=retrieval"]
    assert command.main([*words, *FEW]) == 0
    shown = capsys.readouterr()
    assert "54 of 60 shapes left out, as the run has learned from them" in shown.err
    found = written(out)
    assert found["data"]["shapes"] == 6
    assert len(found["data"]["left_out"]) == 54
    assert found["data"]["variant"] == "all shapes of folder that are new to the run"
    results = json.loads((searched.run / "results.json").read_text())
    expected = results["metrics"]["baseline"]["text_to_shape/recall@1"]
    assert value(found["tasks"]["retrieval"], "KNN, text → shape", "R@1") == pytest.approx(expected)


def test_what_a_sent_run_names_is_followed_once_it_is_named_again(
    searched: Searched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALIGN3D_CACHE", str(searched.run.parent / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))  # which has no note on any run
    out = tmp_path / "out"
    words = [f"run={searched.run}", "data=procedural", "data.size=8", f"out={out}", "tasks=zero_shot", *FEW]
    assert command.main(words) == 2
    assert f"run.{DATA}root=" in capsys.readouterr().err
    assert command.main([*words, f"run.{DATA}root={searched.meshes}"]) == 0
    assert written(out)["data"]["shapes"] == 8


def test_what_cannot_be_measured_is_said(
    searched: Searched, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"run={searched.run}", f"data={MASTS}", f"out={tmp_path}", "tasks=zero_shot,few_shot"]
    assert command.main([*words, *FEW]) == 0
    shown = capsys.readouterr()
    assert "zero_shot: not measured; the shapes have 1 categories, expected at least two" in shown.err
    assert written(tmp_path)["tasks"] == {}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tasks=retrieval"], "give run=FOLDER, a finished run, or embeddings=FILE"),
        (["run=/nowhere"], "run=/nowhere: no config.yaml there"),
        (["run=/nowhere", "tasks=retrival"], "tasks=retrival: expected 'zero_shot'"),
        (["run=/nowhere", "tasks=retrieval,retrieval"], "one is named twice"),
        (["run=/nowhere", "levels=5"], "levels=5"),
        (["run=/nowhere", "corruptions=rust"], "corruptions=rust: expected some of"),
        (["run=/nowhere", "data=foldr"], "data=foldr: no such source; did you mean folder?"),
        (["run=/nowhere", "data=folder", "data.rot=x"], "did you mean data.root?"),
        (["run=/nowhere", "task=retrieval"], "did you mean tasks?"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert words in shown.err


def test_what_the_run_names_is_named_again_beside_another_source() -> None:
    asked = parse(["run=r", "data=folder", "data.root=new", "data.seed=3", "run.data.root=old", "cache=c"])
    assert asked.other == {"root": "new", "seed": 3}
    assert asked.named == {"data.root": "old", "cache": "c"}
    asked = parse(["run=r", "data.root=old"])
    assert (asked.other, asked.named) == ({}, {"data.root": "old"})


def test_the_help_page_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert "[list of zero_shot | retrieval | few_shot" in shown
    assert "benchmark=modelnet_fewshot_10way_20shot" in shown
    assert "data.families" in shown
