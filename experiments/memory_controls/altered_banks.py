"""Banks of known pairs made worse: with fewer pairs, or with pairs that are wrong."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from experiments.data.bank import Bank
from models import AlignmentMemory


def some_pairs(bank: Bank, rows: Tensor) -> Bank:
    """The bank of the pairs at ``rows`` ``[n]`` alone, without the texts and shapes of the others."""
    pairs = bank.memory.pairs[rows]
    (texts, text), (shapes, shape) = (part.unique(return_inverse=True) for part in pairs.unbind(1))
    memory = AlignmentMemory(
        text=bank.memory.text[texts],
        shape=bank.memory.shape[shapes],
        pairs=torch.stack([text, shape], dim=1),
        sharpness=bank.memory.sharpness,
    )
    return Bank(memory, bank.text.select(texts), bank.shapes.select(shapes))


def drawn_pairs(bank: Bank, count: int, draws: torch.Generator) -> Bank:
    """The bank of ``count`` pairs at random; with the generator at the same state, more pairs hold fewer."""
    order = torch.randperm(len(bank.memory), generator=draws)
    return some_pairs(bank, order[:count].to(bank.memory.pairs.device))


def with_wrong_pairs(bank: Bank, share: float, draws: torch.Generator) -> Bank:
    """The bank with a share of its pairs given another shape at random, which their text does not mean.

    A text that means every shape has no wrong one, and keeps its pairs.
    """
    pairs = bank.memory.pairs.cpu()
    shapes = len(bank.memory.shape)
    right = torch.zeros(len(bank.memory.text), shapes, dtype=torch.bool)
    right[pairs[:, 0], pairs[:, 1]] = True
    rows = torch.randperm(len(pairs), generator=draws)
    rows = rows[~right.all(1)[pairs[rows, 0]]][: round(share * len(pairs))]
    wrong = pairs.clone()
    while len(rows):
        wrong[rows, 1] = torch.randint(shapes, (len(rows),), generator=draws)
        rows = rows[right[wrong[rows, 0], wrong[rows, 1]]]
    return replace(bank, memory=replace(bank.memory, pairs=wrong.to(bank.memory.pairs.device)))
