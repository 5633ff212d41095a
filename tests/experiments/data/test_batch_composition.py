"""Composition of batches: hard negatives of a batch or a group, further captions, shapes of equal content."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from align3d.dataset import ShapeDataset
from experiments.data.batches import Batch, Batches, look_alikes
from experiments.data.corpus import Corpus
from experiments.settings.schema import TrainConfig

CPU = torch.device("cpu")
SIZES = {"batch_size": 8, "group": 2, "epochs": 1, "hard_epochs": 3, "grounding": 0.0}


def batches_of(corpus: Corpus, **settings: object) -> Batches:
    corpus = dataclasses.replace(corpus, splits={"train": torch.arange(16)})
    return Batches(corpus, dataclasses.replace(TrainConfig(), **SIZES, **settings), 3, CPU)


def ring(batches: Batches) -> Tensor:
    """Look-alikes of shapes that stand in a ring: those that come next."""
    return (torch.arange(16).unsqueeze(1) + torch.arange(1, batches.count + 1)) % 16


def hard(corpus: Corpus, **settings: object) -> tuple[Batches, Batch]:
    batches = batches_of(corpus, **settings)
    batches.neighbors = ring(batches)
    return batches, batches.at(batches.random_steps)


def test_look_alikes_fill_the_groups_of_several_seeds(corpus: Corpus) -> None:
    batches, batch = hard(corpus, hard_share=0.5)
    assert batches.count == 1
    pairs = batch.indices.view(4, 2)
    assert ((pairs[:, 1] - pairs[:, 0]) % 16)[:2].tolist() == [1, 1]


@pytest.mark.parametrize(("share", "together"), [(0.5, 4), (1.0, 8)])
def test_look_alikes_of_one_seed_fill_their_share_of_the_batch(
    corpus: Corpus, share: float, together: int
) -> None:
    batches, batch = hard(corpus, hard_scope="batch", hard_share=share)
    assert batches.count == together - 1
    seed = int(batch.indices[0])
    assert batch.indices[:together].tolist() == [(seed + place) % 16 for place in range(together)]
    order = batches_of(corpus, hard_share=0.0).at(batches.random_steps).indices
    assert batch.indices[together:].tolist() == order[together:].tolist()


def test_look_alikes_are_mined_as_often_as_asked_for(corpus: Corpus) -> None:
    batches = batches_of(corpus)
    assert (batches.per_epoch, batches.random_steps, batches.total) == (2, 2, 8)
    assert not any(batches.mines_at(step) for step in range(2))
    batches.neighbors = ring(batches)
    assert [step for step in range(8) if batches.mines_at(step)] == [2, 4, 6]
    often = batches_of(corpus, mine_every=3)
    often.neighbors = ring(often)
    assert [step for step in range(8) if often.mines_at(step)] == [2, 5]


def test_what_answers_a_caption_is_no_look_alike() -> None:
    similarity = torch.tensor([[9.0, 8, 1, 0], [8, 9, 2, 0], [1, 2, 9, 3], [0, 0, 3, 9]])
    right = torch.eye(4, dtype=torch.bool)
    assert look_alikes(similarity, right, 1).flatten().tolist() == [1, 0, 3, 2]
    right[0, 1] = right[1, 0] = True
    assert look_alikes(similarity, right, 1).flatten().tolist() == [2, 2, 3, 2]


def test_a_shape_is_shown_with_each_of_its_captions(corpus: Corpus) -> None:
    plain = batches_of(corpus)
    for captions in (2, 3):
        batches = batches_of(corpus, captions=captions)
        for step in range(2):
            batch = batches.at(step)
            assert torch.equal(batch.texts, plain.at(step).texts)
            assert len(batch.more) == captions - 1
            for row, index in enumerate(batch.indices.tolist()):
                own = {corpus.captions[text] for text in corpus.texts_of[index].tolist() if text >= 0}
                words = [" ".join(each.text.strings[row]) for each in (batch, *batch.more)]
                assert len(set(words)) == min(captions, len(own))
                for each in (batch, *batch.more):
                    assert bool(each.positives[row, row])
    assert plain.at(0).more == ()


class Twins(ShapeDataset):
    """The same shapes, where every second has the content of the one before it."""

    def __init__(self, dataset: ShapeDataset) -> None:
        self.__dict__ |= dataset.__dict__

    @property
    def content_hashes(self) -> list[str]:
        """Of the even shapes, twice."""
        hashes = super().content_hashes
        return [hashes[row // 2 * 2] for row in range(len(hashes))]


def test_a_shape_of_equal_content_is_neither_right_nor_wrong(corpus: Corpus) -> None:
    twins = dataclasses.replace(corpus, dataset=Twins(corpus.dataset))
    assert batches_of(twins).at(0).ignored is None
    batches, met = batches_of(twins, mask_equal=True, captions=2), 0
    for step in range(batches.random_steps):
        batch = batches.at(step)
        for each in (batch, *batch.more):
            assert each.ignored is not None
            twin = batch.indices.unsqueeze(1) // 2 == batch.indices // 2
            assert torch.equal(each.ignored, twin & ~each.positives)
            met += int(each.ignored.sum())
    assert met > 0
    alone = batches_of(corpus, mask_equal=True).at(0)
    assert alone.ignored is not None
    assert not alone.ignored.any()
