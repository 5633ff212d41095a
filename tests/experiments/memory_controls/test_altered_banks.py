"""Banks with fewer pairs and with wrong ones."""

from __future__ import annotations

import pytest
import torch

from experiments.data.bank import Bank, remember
from experiments.data.corpus import Corpus
from experiments.memory_controls.altered_banks import drawn_pairs, some_pairs, with_wrong_pairs
from models import AlignmentModel

CPU = torch.device("cpu")


@pytest.fixture
def bank(model: AlignmentModel, corpus: Corpus) -> Bank:
    return remember(model, corpus, torch.arange(12), CPU)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def rows_of(bank: Bank, whole: Bank) -> set[tuple[int, int]]:
    """The pairs of a bank as rows of the whole one, found by their embeddings."""
    found = []
    for side, rows in zip(("text", "shape"), bank.memory.pairs.unbind(1), strict=True):
        own, every = getattr(bank.memory, side)[rows], getattr(whole.memory, side)
        equal = (own.unsqueeze(1) == every).all(-1)
        assert bool(equal.any(1).all())
        found.append(equal.int().argmax(1).tolist())
    return set(zip(*found, strict=True))


def test_some_pairs_are_those_pairs_and_nothing_else(bank: Bank) -> None:
    rows = torch.tensor([5, 0, 9])
    few = some_pairs(bank, rows)
    assert rows_of(few, bank) == {tuple(pair) for pair in bank.memory.pairs[rows].tolist()}
    assert few.memory.pairs[:, 0].unique().tolist() == list(range(len(few.memory.text)))
    assert few.memory.pairs[:, 1].unique().tolist() == list(range(len(few.memory.shape)))
    torch.testing.assert_close(few.text.embedding, few.memory.text)
    torch.testing.assert_close(few.shapes.embedding, few.memory.shape)


def test_more_pairs_hold_fewer(bank: Bank) -> None:
    sizes = [3, 8, len(bank.memory)]
    drawn = [rows_of(drawn_pairs(bank, size, seeded()), bank) for size in sizes]
    assert [len(pairs) for pairs in drawn] == sizes
    assert drawn[0] < drawn[1] < drawn[2]


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_so_many_pairs_are_wrong(bank: Bank, share: float) -> None:
    pairs = bank.memory.pairs
    right = {tuple(pair) for pair in pairs.tolist()}
    everywhere = pairs[:, 0].bincount() == len(bank.memory.shape)  # "a thing": no shape is wrong for it
    assert int(everywhere.sum()) == 1
    wrong = with_wrong_pairs(bank, share, seeded()).memory.pairs
    assert torch.equal(wrong[:, 0], pairs[:, 0])
    changed = (wrong != pairs).any(1)
    able = ~everywhere[pairs[:, 0]]
    assert int(changed.sum()) == min(round(share * len(pairs)), int(able.sum()))
    assert not changed[~able].any()
    assert not {tuple(pair) for pair in wrong[changed].tolist()} & right
