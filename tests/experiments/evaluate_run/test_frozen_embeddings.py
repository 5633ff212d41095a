"""Embeddings of other models from files: what is measured on them, and what is refused by name."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file as save_numpy
from safetensors.torch import save_file

from align3d.pipeline import load_or_build
from experiments import evaluate as command
from experiments.tasks.prompts import unit

KINDS = ("chair", "table", "lamp", "night_stand")
SHAPES, WIDTH = 320, 16
FEW = ["resamples=50", "draws=2", "shots=1,2"]


@dataclass
class Vectors:
    """Embeddings of shapes, two captions each, and their kinds; a shape's captions lie near it."""

    ids: list[str]
    labels: np.ndarray
    shapes: np.ndarray
    texts: np.ndarray
    kinds: np.ndarray
    splits: list[str]


@pytest.fixture
def vectors() -> Vectors:
    rng = np.random.default_rng(2)
    labels = np.arange(SHAPES) % len(KINDS)
    kinds = unit(rng.normal(size=(len(KINDS), WIDTH)))
    shapes = kinds[labels] + 0.25 * rng.normal(size=(SHAPES, WIDTH))
    texts = np.repeat(shapes, 2, axis=0) + 0.3 * rng.normal(size=(2 * SHAPES, WIDTH)) + 0.5
    splits = ["test" if row < 80 else "train" for row in range(SHAPES)]
    return Vectors([f"s{row}" for row in range(SHAPES)], labels, shapes, texts, kinds, splits)


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write(folder: Path, own: Vectors, *, split: bool = True) -> list[str]:
    """Writes the files of a model, and gives the words that name them."""
    np.save(folder / "shapes.npy", own.shapes.astype(np.float16))
    rows = [
        {"id": name, "category": KINDS[label], **({"split": part} if split else {})}
        for name, label, part in zip(own.ids, own.labels, own.splits, strict=True)
    ]
    write_table(folder / "shapes.csv", rows)
    save_numpy({"vectors": own.texts.astype(np.float32)}, folder / "texts.safetensors")
    write_table(
        folder / "texts.csv",
        [
            {"id": name, "caption": f"{which} of {name}"}
            for name in own.ids
            for which in ("a picture", "a model")
        ],
    )
    prompts = np.concatenate([own.kinds, own.kinds + 0.1])
    np.save(folder / "classes.npy", prompts)
    write_table(folder / "classes.csv", [{"category": kind} for kind in (*KINDS, *KINDS)])
    np.save(folder / "others.npy", np.random.default_rng(5).normal(size=(300, WIDTH)))
    return [
        f"embeddings={folder / 'shapes.npy'}",
        f"text_embeddings={folder / 'texts.safetensors'}",
        f"class_embeddings={folder / 'classes.npy'}",
        f"distractor_embeddings={folder / 'others.npy'}",
    ]


def evaluated(words: list[str], out: Path) -> dict[str, Any]:
    assert command.main([*words, f"out={out}", *FEW]) == 0
    return json.loads((out / "evaluation.json").read_text())


def value(found: dict[str, Any], title: str, name: str) -> float:
    (own,) = (one for one in found["measured"][title] if one["name"] == name)
    assert own["low"] is None or own["low"] <= own["value"] <= own["high"]
    return own["value"]


def test_every_task_that_embeddings_suffice_for(
    vectors: Vectors, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluated(write(tmp_path, vectors), tmp_path / "out")
    shown = capsys.readouterr()
    tasks, data = found["tasks"], found["data"]
    assert list(tasks) == ["zero_shot", "retrieval", "few_shot", "open_set", "distractors"]
    assert "robustness: not measured; it needs the model itself" in shown.err
    assert (data["shapes"], data["captions"], data["categories"]) == (80, 160, 4)
    assert found["run"] is None
    assert len(found["embeddings"]["sha256"]["text_embeddings"]) == 64
    test = np.arange(80)
    cosines = unit(vectors.shapes[test].astype(np.float16)) @ unit(vectors.kinds).T
    right = (cosines.argmax(axis=1) == vectors.labels[test]).mean()
    assert value(tasks["zero_shot"], "single prompt", "top-1") == pytest.approx(right)
    assert tasks["zero_shot"]["prompts"]["prompts"] == 8
    scores = unit(vectors.texts[:160]) @ unit(vectors.shapes[test]).T
    first = (scores[::2].argmax(axis=1) == test).mean()
    assert value(tasks["retrieval"], "KNN, text → shape", "R@1") == pytest.approx(first)
    every = (scores.argmax(axis=1) == np.repeat(test, 2)).mean()
    assert value(tasks["retrieval"], "KNN, text → shape", "RR@1") == pytest.approx(every)
    assert value(tasks["retrieval"], "ERS, text → shape", "recall@10") > 0.99
    assert value(tasks["retrieval"], "ERS, text → shape", "R@1") == pytest.approx(first, abs=0.02)
    assert tasks["distractors"]["sizes"] == [80, 100, 380]
    assert value(tasks["distractors"], "ERS, text → 380 shapes", "recall@10") > 0.98
    page = (tmp_path / "out" / "evaluation.html").read_text()
    assert "KNN + memory, text → shape" in page
    assert page.count("<figure>") >= 5


def test_a_memory_of_the_train_split_helps_against_hubs(vectors: Vectors, tmp_path: Path) -> None:
    """All texts lean to one side, so that the shapes there answer any of them."""
    vectors.texts += 1.5 * vectors.kinds[0]
    vectors.splits[220:] = ["reward"] * 100
    found = evaluated([*write(tmp_path, vectors), "tasks=retrieval"], tmp_path / "out")["tasks"]["retrieval"]
    plain, helped = (value(found, f"{row}, text → shape", "RR@1") for row in ("KNN", "KNN + memory"))
    assert helped > plain + 0.03
    recall, hubness = found["memory"]["strengths"]["text_to_shape"]
    assert recall + hubness > 0
    assert value(found, "ERS + memory, text → shape", "recall@10") > 0.95


def test_what_does_not_fit_into_memory_is_said(
    vectors: Vectors, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.evaluate_run.run_tasks.MOST_SCORES", 80 * 160 - 1)
    found = evaluated([*write(tmp_path, vectors), "tasks=retrieval,zero_shot"], tmp_path / "out")
    assert list(found["tasks"]) == ["zero_shot"]
    assert "retrieval: not measured; 12,800 pairs of a caption and a shape" in capsys.readouterr().err


def test_without_known_pairs_there_is_no_memory(vectors: Vectors, tmp_path: Path) -> None:
    words = write(tmp_path, vectors, split=False)
    found = evaluated([*words[:2], "tasks=retrieval,zero_shot"], tmp_path / "out")
    assert found["data"]["shapes"] == SHAPES
    assert list(found["tasks"]) == ["retrieval"]
    assert not [title for title in found["tasks"]["retrieval"]["measured"] if "memory" in title]


def test_ids_of_the_data_decide_whose_embedding_a_row_is(vectors: Vectors, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "all.npy", rng.normal(size=(30, 8)))
    words = ["data=procedural", "data.size=12", "data.families=chair,table", "tasks=few_shot,open_set"]
    path = tmp_path / "all.npy"
    ids = [f"{number:06d}" for number in range(30)]
    dataset = load_or_build("procedural", size=12, families=["chair", "table"], points=2048, workers=1)
    order = [*dataset.ids[::-1], *[f"other {name}" for name in ids[12:]]]
    write_table(path.with_suffix(".csv"), [{"id": name} for name in order])
    found = evaluated([f"embeddings={path}", *words], tmp_path / "out")
    assert found["data"]["shapes"] == 12
    assert found["data"]["hash"] == dataset.hash
    assert list(found["tasks"]) == ["few_shot"]
    write_table(path.with_suffix(".csv"), [{"id": f"other {name}"} for name in ids])
    assert command.main([f"embeddings={path}", *words, f"out={tmp_path / 'o'}"]) == 2


def test_the_dict_of_openshape_names_classes(vectors: Vectors, tmp_path: Path) -> None:
    words = write(tmp_path, vectors)
    feats = {kind: own[None].astype(np.float32) for kind, own in zip(KINDS, vectors.kinds, strict=True)}
    np.save(tmp_path / "cat_name_pt_feat.npy", feats, allow_pickle=True)
    words[2] = f"class_embeddings={tmp_path / 'cat_name_pt_feat.npy'}"
    found = evaluated([*words, "tasks=zero_shot"], tmp_path / "out")["tasks"]["zero_shot"]
    ensemble, single = (value(found, f"{name}", "top-1") for name in ("prompt ensemble", "single prompt"))
    assert ensemble == single > 0.8


class Evil:
    """What a pickle of an attacker holds."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("touched-by-a-pickle"),))


def damage(folder: Path, own: Vectors, what: str) -> None:
    """Makes one of the files wrong."""
    if what == "pickle":
        np.save(folder / "shapes.npy", np.array([Evil()], dtype=object), allow_pickle=True)
    elif what == "class pickle":
        np.save(folder / "classes.npy", np.array({"chair": Evil()}, dtype=object), allow_pickle=True)
    elif what == "nan":
        vectors = own.shapes.copy()
        vectors[7, 3] = np.nan
        np.save(folder / "shapes.npy", vectors)
    elif what == "shape":
        np.save(folder / "shapes.npy", own.shapes.reshape(SHAPES, 4, 4))
    elif what == "dtype":
        np.save(folder / "shapes.npy", np.array([["a"] * WIDTH] * SHAPES))
    elif what == "bfloat16":
        save_file({"vectors": torch.zeros(3, WIDTH).bfloat16()}, folder / "texts.safetensors")
    elif what == "width":
        np.save(folder / "others.npy", np.ones((5, WIDTH + 1)))
    elif what == "rows":
        np.save(folder / "shapes.npy", own.shapes[1:])
    elif what in ("duplicate", "unknown", "missing", "split"):
        path = folder / ("texts.csv" if what in ("unknown", "missing") else "shapes.csv")
        old, new = {
            "duplicate": ("s5,", "s4,"),
            "unknown": ("s5,", "z5,"),
            "missing": ("s5,", "s4,"),
            "split": (",test", ",tset"),
        }[what]
        lines = path.read_text().splitlines()
        path.write_text(
            "\n".join(line.replace(old, new) if f"{line},".startswith("s5,") else line for line in lines)
        )
    elif what == "class":
        lines = (folder / "classes.csv").read_text().replace("lamp", "sofa")
        (folder / "classes.csv").write_text(lines)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("pickle", "shapes.npy: cannot be read (Array can't be memory-mapped: Python objects"),
        ("class pickle", "classes.npy: "),
        ("nan", "shapes.npy: row 7 is zero or not finite"),
        ("shape", "shapes.npy: float64 [320, 4, 4]; expected numbers [N, D]"),
        ("dtype", "expected numbers [N, D]"),
        ("bfloat16", "texts.safetensors: cannot be read"),
        ("width", "distractor_embeddings="),
        ("rows", "319 vectors and 320 rows in shapes.csv"),
        ("duplicate", "id 's4' stands there twice"),
        ("unknown", "texts.safetensors: 1 ids are of no shape ('z5')"),
        ("missing", "no caption of 1 of 80 shapes ('s5')"),
        ("split", "split 'tset'; expected test, train, reward"),
        ("class", "no prompt of 'lamp'; expected one of each"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(
    vectors: Vectors, tmp_path: Path, what: str, words: str, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    named = write(tmp_path, vectors)
    damage(tmp_path, vectors, what)
    assert command.main([*named, f"out={tmp_path / 'out'}", *FEW]) == 2
    shown = capsys.readouterr()
    assert words in shown.err
    assert shown.err.count("\n") == 1
    assert not (tmp_path / "touched-by-a-pickle").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["text_embeddings=t.npy", "run=r"], "text_embeddings=t.npy: belongs to embeddings=FILE"),
        (["embeddings=e.npy", "run=r", "data=folder"], "embeddings= with run= and data=: expected one"),
        (["embeddings=e.npy", "tasks=grounding"], "tasks=grounding: needs the model itself"),
        (["embeddings=e.npy", "benchmark=modelnet_c"], "made of 36 sets of shapes"),
        (["embeddings=e.bin"], "embeddings=e.bin: format '.bin' is not read"),
        (["embeddings=e.npy"], "embeddings=e.npy: cannot be read"),
    ],
)
def test_what_does_not_go_together_is_one_line(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert command.main([*words, f"out={tmp_path}"]) == 2
    shown = capsys.readouterr()
    assert told in shown.err
    assert shown.err.count("\n") == 1
