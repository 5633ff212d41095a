"""A run under examination: its splits scored once, with whichever bank of known pairs is put beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from experiments.console.tables import DIRECTIONS
from experiments.data.bank import Bank, remember
from experiments.data.corpus import Corpus
from experiments.evaluation.directions import Direction, directions_of, with_memory
from experiments.evaluation.fixed_strengths import Choice, Strengths, choose
from experiments.evaluation.gallery import STAGES, Gallery, Stage, encode_split
from experiments.settings.schema import RunConfig
from models import AlignmentModel

ROWS: dict[str, tuple[Stage, bool]] = {
    "KNN": ("search", False),
    "KNN + memory": ("search", True),
    "HAF": ("rerank", False),
    "HAF + memory": ("rerank", True),
}
"""Rankings: their stage, and whether the memory acts."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """Measurements in one case of a control.

    Attributes:
        name: Of the case.
        values: ``[N]`` by direction and row: whether the first answer was right, query by query.
        strengths: Of the memory that acted; None where none did.
        spread: Whether the values are of draws and no queries, so that their spread is what counts.
    """

    name: str
    values: dict[str, dict[str, Values]]
    strengths: Choice | None = None
    spread: bool = False


Directions = dict[str, Direction]


@dataclass
class Asked:
    """A split whose shapes and captions ask for each other.

    Attributes:
        indices: ``[M]`` its shapes.
        gallery: The split, encoded, without a memory.
        plain: Both directions, scored without a memory.
    """

    indices: Tensor
    gallery: Gallery
    plain: Directions


@dataclass
class Examined:
    """A run's model on data of its own or of another source.

    Attributes:
        model: In evaluation mode.
        config: The run's settings.
        corpus: The data.
        device: Where the model is.
        bank: All pairs of the train split.
        reward: Chooses strengths.
        test: Is measured.
    """

    model: AlignmentModel
    config: RunConfig
    corpus: Corpus
    device: torch.device
    bank: Bank
    reward: Asked
    test: Asked

    @cached_property
    def galleries(self) -> tuple[Gallery, Gallery]:
        """The reward and the test split with the whole bank, see `remembering`."""
        return self.remembering(self.bank)

    @cached_property
    def whole(self) -> Case:
        """The test split with the whole bank and the strengths chosen for it."""
        return self.measured("the whole bank", self.galleries)

    def remembering(self, bank: Bank) -> tuple[Gallery, Gallery]:
        """The reward and the test split with a bank, which holds none of their pairs."""
        reward, test = (one.gallery.remembering(self.model, bank) for one in (self.reward, self.test))
        return reward, test

    def measured(
        self, name: str, galleries: tuple[Gallery, Gallery], strengths: Choice | None = None
    ) -> Case:
        """Gain by a bank on the test split.

        Args:
            name: Of the case.
            galleries: The reward and the test split with that bank, from `remembering`.
            strengths: Those that act; None: of most gain on the reward split, or 0 where none is sure.
        """
        reward, test = galleries
        if strengths is None:
            strengths = choose([with_memory(self.model, reward, self.reward.plain)])
        return case(name, with_memory(self.model, test, self.test.plain), strengths)


def examine(model: AlignmentModel, config: RunConfig, corpus: Corpus, device: torch.device) -> Examined:
    """Encodes and scores the splits of a corpus.

    Args:
        model: A trained model.
        config: The settings of its run.
        corpus: Data with the splits train, reward and test.
        device: Where the model is.
    """
    asked = []
    for name in ("reward", "test"):
        indices = corpus.splits[name]
        gallery = encode_split(model, corpus, indices, device)
        asked.append(Asked(indices, gallery, directions_of(model, gallery, config.eval)))
    bank = remember(model, corpus, corpus.splits["train"], device)
    return Examined(model, config, corpus, device, bank, *asked)


def case(name: str, directions: Mapping[str, Direction], strengths: Choice) -> Case:
    """The case of directions whose memory acts with some strengths."""
    return Case(name, {key: hits(own, key, strengths) for key, own in directions.items()}, strengths)


def hits(direction: Direction, name: str, strengths: Choice) -> dict[str, Values]:
    """Recall at 1 of each query, ``[Q]`` of 0 and 1 for each of `ROWS`."""
    found = {}
    for row, (stage, remembers) in ROWS.items():
        own = strengths[stage, name]
        ranks = direction.ranks(stage, own.recall, own.hubness) if remembers else direction.ranks(stage)
        found[row] = (ranks == 1).astype(np.float64)
    return found


def forced(strength: float) -> Choice:
    """The same strength of recall and hubness everywhere, whatever it gains."""
    own = Strengths(strength, strength, 0.0, 0.0)
    return {(stage, name): own for stage in STAGES for name in DIRECTIONS}
