"""The command that prints the tree of an index, and the index that a run has."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from durable.checksums import file_facts, json_bytes
from experiments import retrieval as retrieval_command
from experiments import tree as command
from experiments.index_evaluation import distill_light
from retrieval import ErsIndex
from retrieval.ers.inspect import read_outline

ROOT = Path(__file__).parents[3]
KINDS = ("red chair", "oak table", "tall lamp")


@pytest.fixture
def index() -> ErsIndex:
    """Three kinds of things, far apart, of 60, 40 and 20 vectors."""
    draw = np.random.default_rng(0)
    kinds = np.repeat([0, 1, 2], [60, 40, 20])
    vectors = np.eye(8, dtype=np.float32)[kinds] + 0.05 * draw.standard_normal((120, 8)).astype(np.float32)
    made = ErsIndex(leaves=3, depth=1)
    made.build(
        vectors, 100 + np.arange(120), {"caption": [f"a {KINDS[kind]} of kind {kind}" for kind in kinds]}
    )
    return made


def test_nodes_have_names_sizes_visits_and_successes(index: ErsIndex, tmp_path: Path, capsys) -> None:
    index.learn()
    for _ in range(4):
        index.feedback(np.eye(8, dtype=np.float32)[2], 219)
    index.save(tmp_path / "index")
    assert command.main([f"index={tmp_path / 'index'}", "words=2"]) == 0
    head, whole, *nodes = capsys.readouterr().out.splitlines()
    assert head.split() == ["vectors", "visits", "successes"]
    assert whole.split() == ["all", "120"]
    assert [node.split() for node in nodes] == [
        ["├─", "chair,", "red", "60", "4.0", "0.0"],
        ["├─", "oak,", "table", "40", "4.0", "0.0"],
        ["└─", "lamp,", "tall", "20", "4.0", "4.0"],
    ]
    assert len({len(line) for line in (head, *nodes)}) == 1  # figures end in one column


@pytest.mark.parametrize("file", ["tree.safetensors", "rows.safetensors"])
@pytest.mark.parametrize("sealed", [False, True])
def test_a_changed_index_is_one_line(
    index: ErsIndex, tmp_path: Path, capsys, file: str, sealed: bool
) -> None:
    """By its checksum, or by its numbers where somebody wrote the checksum anew."""
    index.save(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    path = tmp_path / manifest["data"] / file
    arrays = load_file(path)
    name, value = ("first_child.0", 2**40) if file.startswith("tree") else ("leaf", -1)
    arrays[name][1] = value
    save_file(arrays, path)
    if sealed:
        facts = file_facts(path.parent, manifest["files"])
        (tmp_path / "manifest.json").write_bytes(json_bytes(manifest | {"files": facts}))
    assert command.main([f"index={tmp_path}"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"{file} is damaged: " in told
    assert (f"{name} has {value}" if sealed else "SHA-256") in told


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_captions_from_a_file(index: ErsIndex, tmp_path: Path, capsys, suffix: str) -> None:
    index.remove(np.arange(100, 110))
    index.save(tmp_path / "index")
    path = tmp_path / f"captions.{suffix}"
    rows = [(100 + row, f"thing {'one' if row < 60 else 'other'}") for row in range(200)]
    if suffix == "csv":
        path.write_text("id, caption\n" + "".join(f"{number}, {caption}\n" for number, caption in rows))
    else:
        path.write_text("".join(json.dumps({"id": n, "caption": caption}) + "\n" for n, caption in rows))
    assert command.main([f"index={tmp_path / 'index'}", f"captions={path}", "most=1"]) == 0
    shown = capsys.readouterr().out
    assert "├─ one " in shown
    assert "… 2 smaller ones" in shown
    assert "110" in shown


def test_without_captions_nodes_are_numbered(tmp_path: Path, capsys) -> None:
    plain = ErsIndex(leaves=2, depth=1)
    plain.build(np.eye(4, dtype=np.float32), np.arange(4))
    plain.save(tmp_path / "index")
    assert read_outline(tmp_path / "index").texts("caption") is None
    assert command.main([f"index={tmp_path / 'index'}"]) == 0
    shown = capsys.readouterr()
    assert "(node 0)" in shown.out
    assert shown.err == "no captions, so nodes are numbered: captions=FILE names them\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["depth=1"], "give one of run=FOLDER"),
        (["run=a", "index=b"], "give one of run=FOLDER"),
        (["run=a", "captions=b.csv"], "belongs to index"),
        (["run=/nowhere"], "run=/nowhere: no config.yaml there"),
        (["index=/nowhere"], "no index in /nowhere: it has no manifest.json"),
        (["index=/nowhere", "depth=0"], "depth=0: expected greater than"),
        (["index=/nowhere", "dept=1"], "did you mean depth?"),
        (["index={index}", "captions=/nowhere.csv"], "captions=/nowhere.csv: cannot be read"),
        (["index={index}", "captions=a.txt"], "a name ending in .csv, .tsv, .jsonl, .parquet"),
        (["index={index}", "captions={wrong}"], "line 2: expected id (a whole number) and caption"),
        (["index={index}", "captions={strange}"], "none of its ids is in the index, as 100 is"),
    ],
)
def test_a_mistake_is_one_line(
    index: ErsIndex, tmp_path: Path, capsys, arguments: list[str], words: str
) -> None:
    places = {name: tmp_path / name for name in ("index", "wrong.jsonl", "strange.jsonl")}
    index.save(places["index"])
    places["wrong.jsonl"].write_text('{"id": 100, "caption": "a"}\n{"id": 1.5, "caption": "b"}\n')
    places["strange.jsonl"].write_text('{"id": 3, "caption": "a"}\n')
    filled = [text.format(**{path.stem: path for path in places.values()}) for text in arguments]
    assert command.main(filled) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    assert words in shown.err


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    settings = """agent=none model=tiny device=cpu threads=1 data.size=96 data.points=256 data.test=24
        data.reward=16 eval.candidates=8 train.batch_size=16 train.group=8 train.epochs=1 train.hard_epochs=0
        train.images_every=0 train.reuse=false dap.mode=off"""
    words = [sys.executable, "-m", "experiments.run", *settings.split(), f"hydra.run.dir={folder}"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_index_of_a_run_is_made_once_and_again_for_other_weights(run: Path, capsys) -> None:
    assert command.main([f"run={run}"]) == 0
    first = capsys.readouterr().out
    assert first.splitlines()[1].split() == ["all", "96"]
    data = [path.name for path in (run / "index").glob("data-*")]
    assert command.main([f"index={run / 'index'}"]) == 0
    assert capsys.readouterr().out == first
    assert command.main([f"run={run}"]) == 0
    assert [path.name for path in (run / "index").glob("data-*")] == data
    (run / "index.json").write_text('{"key": "of other weights"}')
    assert command.main([f"run={run}"]) == 0
    assert [path.name for path in (run / "index").glob("data-*")] != data
    shapes = ErsIndex.load(run / "index")
    assert len(shapes) == 96
    _, scores = shapes.search(np.ones((1, shapes.hierarchy.width)), 3, where={"category": "chair"})
    assert scores.shape == (1, 3)


@pytest.mark.parametrize("seed", range(2))
def test_a_damaged_index_of_a_run_is_set_aside_and_made_anew(run: Path, capsys, seed: int) -> None:
    assert command.main([f"run={run}"]) == 0
    wanted, draws = capsys.readouterr().out, random.Random(seed)
    for name in ("index.json", "index/manifest.json", "index/data-*/*"):
        path = draws.choice(sorted(run.glob(name)))
        content = path.read_bytes()
        path.write_bytes(content[: draws.randrange(len(content))])
        assert command.main([f"run={run}"]) == 0
        shown = capsys.readouterr()
        assert shown.out == wanted
        if " is damaged (" not in shown.err:  # a file that the tree is not made of
            assert path.parent.name.startswith("data-")
            path.write_bytes(content)


def test_new_shapes_of_a_run_are_searched_with_and_without_reranking(
    run: Path, tmp_path, capsys, monkeypatch
) -> None:
    fit = distill_light.fit
    monkeypatch.setattr(distill_light, "fit", lambda *of: fit(*of, steps=5))
    arguments = f"run={run} gallery=new size=60,120 queries=20 engines=flat,ers rerank=light,cascade"
    few = f"rounds=1 singles=3 resamples=100 candidates=20 out={tmp_path}"
    assert retrieval_command.main([*arguments.split(), *few.split()]) == 0
    content = json.loads((tmp_path / "retrieval.json").read_text())
    assert list(content["problems"]) == ["text_to_shape, 60 new shapes", "text_to_shape, 120 new shapes"]
    for problem in content["problems"].values():
        assert set(problem["engines"]["ers"]["reranked"]) == {"light", "cascade"}
        assert problem["engines"]["flat"]["chosen"]["quality"]["recall@1"] > 0
    assert (tmp_path / "size.png").exists()
    capsys.readouterr()
    assert retrieval_command.main([*arguments.split(), "size=10", "queries=11"]) == 2
    assert "queries=11 of 10" in capsys.readouterr().err
