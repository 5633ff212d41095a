"""Batches in which a share of the shapes is shifted."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from experiments.data.batches import Batch, Batches
from experiments.data.corpus import SHAPE_FIELDS, Corpus
from experiments.data.part_mentions import PartLabels
from experiments.data.shifted_corpus import shifted_corpus
from experiments.settings.command import check
from experiments.settings.schema import RunConfig, register_sizes
from models import ShapeBatch

register_sizes()
CPU = torch.device("cpu")
SHIFTS = ("unit", "partial")


def config_of(tmp_path: Path, share: float = 0.5) -> RunConfig:
    shifts = f"train.shift=[{','.join(SHIFTS)}]"
    sizes = ["train.batch_size=12", "train.group=4", f"train.corrupt={share}", f"cache={tmp_path}"]
    sizes += [shifts] if share else []
    (config,) = check(["model=tiny", "model.color_dropout=0", *sizes])
    return config


@pytest.fixture
def versions(corpus: Corpus, tmp_path: Path) -> list[Corpus]:
    """The corpus as it is, and under each of the shifts."""
    config = config_of(tmp_path)
    corpus = dataclasses.replace(corpus, splits={"train": corpus.splits["test"]})
    every = torch.arange(len(corpus.dataset))
    return [corpus, *(shifted_corpus(corpus, every, shift, config) for shift in SHIFTS)]


def batches_of(versions: list[Corpus], config: RunConfig) -> Batches:
    return Batches(versions[0], config.train, 3, CPU, versions[1:])


def equal(one: ShapeBatch, other: ShapeBatch) -> bool:
    return all(torch.equal(one.get(name), other.get(name)) for name in SHAPE_FIELDS)


def shown_under(batch: Batch, versions: list[Corpus]) -> list[int]:
    """Which version of the corpus each shape of a batch is from."""
    found = []
    for row, index in enumerate(batch.indices):
        is_of = [equal(batch.shapes[[row]], version.shapes[[int(index)]]) for version in versions]
        assert is_of.count(True) == 1
        found.append(is_of.index(True))
    return found


def test_without_shifts_batches_are_as_they_were(versions: list[Corpus], tmp_path: Path) -> None:
    off = dataclasses.replace(config_of(tmp_path).train, corrupt=0)
    plain = Batches(versions[0], off, 3, CPU)
    shifted = batches_of(versions, config_of(tmp_path))
    none = batches_of(versions, config_of(tmp_path, share=0))
    labels = PartLabels(versions[0], versions[0].splits["train"])
    for step in range(4):
        batch, other = plain.at(step), none.at(step)
        assert equal(batch.shapes, other.shapes)
        assert equal(batch.shapes, versions[0].shapes[batch.indices])
        assert batch.parts is not None
        assert other.parts is not None
        texts = [
            int((batch.text.tokens[row] == versions[0].text.tokens).all((1, 2)).nonzero()[0])
            for row in range(12)
        ]
        direct = labels.of(batch.indices, torch.tensor(texts), CPU)
        for field in dataclasses.fields(direct):
            assert torch.equal(getattr(batch.parts, field.name), getattr(direct, field.name))
            assert torch.equal(getattr(batch.parts, field.name), getattr(other.parts, field.name))
        mixed = shifted.at(step)  # shifts move neither the order nor the captions
        assert torch.equal(mixed.indices, batch.indices)
        assert torch.equal(mixed.text.tokens, batch.text.tokens)


def test_a_share_of_the_shapes_is_shifted_by_seed_and_epoch_alone(
    versions: list[Corpus], tmp_path: Path
) -> None:
    config = config_of(tmp_path)
    batches = batches_of(versions, config)
    assert batches.per_epoch == 1
    shown = [shown_under(batches.at(step), versions) for step in range(12)]
    counts = torch.tensor(shown).flatten().bincount(minlength=3) / (12 * 12)
    torch.testing.assert_close(counts, torch.tensor([0.5, 0.25, 0.25]), atol=0.12, rtol=0)
    assert len({tuple(each) for each in shown}) > 6, "each epoch others"
    again = batches_of(versions, config)
    for step in (7, 2):  # as after a resume: no batch depends on those before
        assert equal(again.at(step).shapes, batches.at(step).shapes)
    whole = batches_of(versions, config_of(tmp_path, share=1))
    assert all(0 not in shown_under(whole.at(step), versions) for step in range(4))


def test_words_are_grounded_on_the_points_of_the_shape_as_it_is_shown(
    versions: list[Corpus], tmp_path: Path
) -> None:
    batches = batches_of(versions, config_of(tmp_path))
    labels = [PartLabels(version, version.splits["train"]) for version in versions]
    compared = [0, 0, 0]
    for step in range(8):
        batch = batches.at(step)
        shown, parts = shown_under(batch, versions), batch.parts
        assert parts is not None
        for place, row in enumerate(parts.rows.tolist()):
            text = (batch.text.tokens[row] == versions[0].text.tokens).all((1, 2)).nonzero()[:1, 0]
            own = labels[shown[row]].of(batch.indices[[row]], text, CPU)
            match = (own.words == parts.words[place]).all(1)
            assert match.sum() == 1
            assert torch.equal(own.on_part[match][0], parts.on_part[place])
            assert torch.equal(own.points[match][0], parts.points[place])
            compared[shown[row]] += 1
    assert min(compared) > 3
