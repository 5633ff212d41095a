"""Published benchmarks by name: standard settings, folds of few shots, and files of corruptions."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from align3d.sources.benchmarks.standard_settings import BENCHMARKS
from experiments import evaluate as command
from experiments.evaluate_run.evaluate_options import TASKS, parse
from tests.experiments.shape_search.searched_run import Searched

NAMES = ("airplane", "bathtub", "bed", "bench", "bookshelf", "bottle")
POINTS = 600
QUERIES = 2
FEW = ["resamples=50", "device=cpu", "agent=none", "data.workers=1"]


def cloud(kind: int, rng: np.random.Generator) -> np.ndarray:
    """A box whose proportions are those of its kind, y up."""
    sides = np.array([1.0, 0.2 + 0.3 * kind, 2.0 - 0.3 * kind]) * rng.uniform(0.95, 1.05, 3)
    return (rng.uniform(-1, 1, (POINTS, 3)) * sides).astype(np.float32)


def write_folds(root: Path, rng: np.random.Generator, folds: int = 10) -> None:
    """Folds of 5 classes and 10 shots; classes are numbers of ModelNet40, other ones in each fold."""
    folder = root / "ModelNetFewshot" / "5way_10shot"
    folder.mkdir(parents=True)
    for fold in range(folds):
        kinds = rng.permutation(len(NAMES))[:5]

        def rows(count: int, kinds: np.ndarray = kinds) -> list[tuple[Any, ...]]:
            return [
                (np.tile(cloud(kind, rng), (1, 2)), label, np.int32(kind))
                for label, kind in enumerate(kinds)
                for _ in range(count)
            ]

        found = {"train": rows(10), "test": rows(QUERIES)}
        (folder / f"{fold}.pkl").write_bytes(pickle.dumps(found))
    (root / "modelnet40_shape_names.txt").write_text("\n".join(NAMES))


def written(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "evaluation.json").read_text())


def test_folds_are_measured_each_with_its_own_support(searched: Searched, tmp_path: Path) -> None:
    write_folds(tmp_path / "root", np.random.default_rng(3))
    out = tmp_path / "out"
    words = ["benchmark=modelnet_fewshot_5way_10shot", f"data.root={tmp_path / 'root'}", f"out={out}"]
    assert command.main([f"run={searched.run}", *words, *FEW]) == 0
    found = written(out)["tasks"]["few_shot"]
    assert list(written(out)["tasks"]) == ["few_shot"]
    assert (found["folds"], found["queries"]) == (10, [5 * QUERIES] * 10)
    (probe,) = found["measured"]["linear probe"]
    assert probe["name"] == "5-way 10-shot"
    assert probe["low"] <= probe["value"] <= probe["high"]
    assert probe["value"] > 0.6  # of five kinds of boxes
    assert (
        found["spread"]["linear probe"]["10"]
        == found["measured"]["linear probe, standard deviation over supports"][0]["value"]
    )
    page = (out / "evaluation.html").read_text()
    assert "standard deviation over supports" in page


def test_a_fold_that_is_missing_is_named(
    searched: Searched, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folds(tmp_path / "root", np.random.default_rng(3), folds=2)
    words = ["benchmark=modelnet_fewshot_5way_10shot", f"data.root={tmp_path / 'root'}"]
    assert command.main([f"run={searched.run}", *words, *FEW, f"out={tmp_path / 'out'}"]) == 2
    assert "2.pkl" in capsys.readouterr().err


def write_corrupted(path: Path, labels: list[int], noise: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng, more = np.random.default_rng(1), np.random.default_rng(2)
    clouds = [cloud(label, rng) + noise * more.normal(size=(POINTS, 3)) for label in labels]
    with h5py.File(path, "w") as file:
        file["data"] = np.array(clouds, np.float32)
        file["label"] = np.array(labels, np.int64)[:, None]


def test_corrupted_files_are_compared_with_the_clean_one(
    searched: Searched, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out, labels = tmp_path / "modelnet_c", tmp_path / "out", [2, 0, 5, 3, 1, 4]
    write_corrupted(root / "clean.h5", labels, 0.0)
    for level in range(5):
        write_corrupted(root / f"jitter_{level}.h5", labels, 0.0 if level == 0 else 0.2 * level)
    (root / "shape_names.txt").write_text("\n".join(NAMES))
    words = ["benchmark=modelnet_c", f"data.root={root}", "data.corruption=jitter"]
    assert command.main([f"run={searched.run}", *words, *FEW, f"out={out}"]) == 0
    found = written(out)["tasks"]["robustness"]
    by_level = {own["name"]: own["value"] for own in found["details"]["by level"]}
    assert list(by_level) == [f"jitter:{level}" for level in range(5)]
    clean = {own["name"]: own["value"] for own in found["measured"]["over corruptions"]}
    assert by_level["jitter:0"] == clean["clean"]  # the same clouds
    assert clean["corrupted"] == pytest.approx(np.mean(list(by_level.values())))
    (error,) = found["details"]["errors by DGCNN's"]
    assert error["value"] == pytest.approx((1 - clean["corrupted"]) / (1 - 0.684))
    assert "mCE" not in clean
    write_corrupted(root / "jitter_4.h5", [0, 2, 5, 3, 1, 4], 0.1)
    assert command.main([f"run={searched.run}", *words, *FEW, f"out={out}"]) == 2
    assert "expected the same shapes in the same order" in capsys.readouterr().err


def test_a_benchmark_stands_for_its_standard_settings() -> None:
    asked = parse(["run=r", "benchmark=objaverse_lvis", "data.root=files"])
    assert (asked.data, asked.verbatim) == ("objaverse_lvis", True)
    assert asked.other == {"split": "lvis", "root": "files"}
    assert asked.measured == ("zero_shot", "few_shot")
    asked = parse(["run=r", "benchmark=text2shape", "data.root=f", "data.split=val", "tasks=zero_shot"])
    assert asked.other == {"split": "val", "layout": "csv", "root": "f"}
    assert asked.measured == ("zero_shot",)
    asked = parse(["run=r", "benchmark=modelnet_c", "data.root=f", "data.corruption=rotate", "data.level=3"])
    assert asked.sets == ({"corruption": "clean"}, {"corruption": "rotate", "level": 3})
    assert asked.other == {"root": "f"}
    for own in BENCHMARKS.values():
        assert set(own.tasks) <= set(TASKS)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["benchmark=modelnet41"], "benchmark=modelnet41: expected one of modelnet40"),
        (["benchmark=modelnet40", "data=folder"], "benchmark=modelnet40 data=folder: expected one of these"),
        (["benchmark=modelnet40", "data.rot=x"], "did you mean data.root?"),
        (["benchmark=modelnet_c", "data.corruption=rust"], "data.corruption=rust: none of its 36 sets is so"),
        (["benchmark=modelnet40", "run.data.root=x", "data.root=nowhere"], "run=r: no config.yaml"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["run=r", *words]) == 2
    shown = capsys.readouterr()
    assert told in shown.err
    assert shown.err.count("\n") == 1
