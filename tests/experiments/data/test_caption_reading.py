"""Captions that the text encoder does not read in full, and the commas of a corpus."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import trimesh

from experiments.data.corpus import Corpus, load_corpus
from experiments.settings.command import check
from experiments.settings.schema import register_sizes

register_sizes()
SIZES = ["data=folder", "model=tiny", "data.reward=2", "data.test=2", "train.batch_size=4", "train.group=2"]


def corpus_of(tmp_path: Path, captions: list[str], *more: str) -> Corpus:
    rows = []
    for number, caption in enumerate(captions):
        trimesh.creation.box([1, 1, 1 + number]).export(tmp_path / f"{number}.stl")
        rows.append(json.dumps({"path": f"{number}.stl", "caption": caption}) + "\n")
    (tmp_path / "captions.jsonl").write_text("".join(rows))
    (config,) = check([*SIZES, f"data.root={tmp_path}", f"cache={tmp_path / '.cache'}", *more])
    return load_corpus(config, torch.device("cpu"))


def test_what_is_not_read_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    captions = [f"box {number} of 🪑" for number in range(9)] + ["a ⛷ box " + "very " * 40 + "high"]
    for _ in ("cold", "warm"):
        corpus_of(tmp_path, captions)
        (told,) = [line for line in capsys.readouterr().err.splitlines() if "text_encoder" in line]
        assert told.startswith(
            "train.text_encoder=minilm, 10 texts: 2 words unknown to it and without meaning"
        )
        assert "('🪑' 9x, '⛷' 1x)" in told
        assert told.endswith("1 texts cut after their first train.max_tokens=32 words")


def test_nothing_is_told_of_what_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus_of(tmp_path, [f"box {number}" for number in range(10)])
    assert "text_encoder" not in capsys.readouterr().err


@pytest.mark.parametrize(("other", "value"), [("2,54 mm", 1), ("1,234.5 mm", 1000), ("no number", 1000)])
def test_the_corpus_settles_a_comma(tmp_path: Path, other: str, value: float) -> None:
    corpus = corpus_of(tmp_path, ["1,000 mm long", *[f"box of kind {c}, {other}" for c in "abcdefghi"]])
    row = corpus.captions.index("1,000 mm long")
    assert corpus.text.quantities[row, 0].tolist() == [value, value]
