"""Corpora with shifted shapes: what is shifted, what stays, and that it is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from align3d.shifts import SHIFTS, ShiftedDataset, parse_shift
from experiments.data.corpus import SHAPE_FIELDS, Corpus
from experiments.data.part_mentions import find_pairs
from experiments.data.shifted_corpus import shifted_corpus, shifted_shapes
from experiments.evaluation.gallery import Gallery, encode_split
from experiments.settings.command import check
from experiments.settings.schema import RunConfig, register_sizes
from models import AlignmentModel, ShapeBatch, prepare_shapes

register_sizes()
INDICES = torch.tensor([4, 1, 9])
OTHERS = torch.tensor([0, 2, 3, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15])


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    (config,) = check(["model=tiny", "model.color_dropout=0", f"cache={tmp_path}"])
    return config


def same(one: ShapeBatch, other: ShapeBatch) -> bool:
    return all(torch.equal(one.get(name), other.get(name)) for name in SHAPE_FIELDS)


@pytest.mark.parametrize("shift", [name for name in SHIFTS if name != "clean"])
def test_the_shapes_asked_for_are_shifted_and_nothing_else(
    corpus: Corpus, config: RunConfig, shift: str
) -> None:
    found = shifted_corpus(corpus, INDICES, shift, config)
    seen = ShiftedDataset(corpus.dataset, parse_shift(shift), config.data.seed)
    points, colors, size_m = (
        torch.from_numpy(column(INDICES.numpy())) for column in (seen.points, seen.colors, seen.size_m)
    )
    assert same(found.shapes[INDICES], prepare_shapes(points, colors, size_m, config.model))
    unseen = shift == "sparse"  # this model reads no more points than are left
    assert same(found.shapes[INDICES], corpus.shapes[INDICES]) == unseen
    assert same(found.shapes[OTHERS], corpus.shapes[OTHERS])
    assert found.captions is corpus.captions
    assert found.text is corpus.text
    assert found.texts_of is corpus.texts_of
    assert found.splits is corpus.splits


def test_a_corpus_that_is_not_shifted_is_itself(corpus: Corpus, config: RunConfig) -> None:
    assert shifted_corpus(corpus, INDICES, "clean", config) is corpus


def test_shifted_shapes_are_kept_by_what_they_are(corpus: Corpus, config: RunConfig, tmp_path: Path) -> None:
    def kept() -> int:
        return len(list((tmp_path / "shapes").glob("*.safetensors")))

    first = shifted_shapes(corpus, INDICES, "jitter", config)
    assert kept() == 1
    assert same(first, shifted_shapes(corpus, INDICES, "jitter:2", config))
    assert kept() == 1
    for number, (shift, indices) in enumerate((("jitter:3", INDICES), ("jitter", OTHERS)), 2):
        shifted_shapes(corpus, indices, shift, config)
        assert kept() == number


def test_a_shifted_split_is_encoded_like_any_other(
    corpus: Corpus, config: RunConfig, model: AlignmentModel, gallery: Gallery
) -> None:
    split = corpus.splits["test"]
    found = encode_split(model, shifted_corpus(corpus, split, "unit", config), split, torch.device("cpu"))
    assert torch.equal(found.text.embedding, gallery.text.embedding)
    assert torch.equal(found.positives, gallery.positives)
    inch = torch.full_like(gallery.shapes.extent, 25.4).log2()
    torch.testing.assert_close(found.shapes.extent, gallery.shapes.extent + inch)
    assert not torch.equal(found.similarity, gallery.similarity)


def test_named_parts_are_on_the_shifted_points(corpus: Corpus, config: RunConfig) -> None:
    split = corpus.splits["test"]
    shifted = shifted_corpus(corpus, split, "dropout_local:4", config)
    pairs = find_pairs(shifted, split, len(split), torch.Generator().manual_seed(0))
    assert len(pairs) > 5
    read = config.model.points
    for shape, on_part, words, text in zip(pairs.shape, pairs.on_part, pairs.words, pairs.text, strict=True):
        index = int(split[shape])
        said = [w for w, named in zip(corpus.text.strings[int(text)], words, strict=False) if named]
        part = corpus.dataset.part_names[index].index(said[0])
        assert on_part.sum() == (shifted.dataset.part([index])[0, :read] == part).sum()
    before = find_pairs(corpus, split, len(split), torch.Generator().manual_seed(0))
    assert before.on_part.sum() != pairs.on_part.sum()
