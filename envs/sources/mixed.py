"""Mixture of sources of episodes, whose episodes come in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from envs.episode import Episode
from envs.functional import CalibrationCore
from envs.sources.hard_negatives import HardNegativeEpisodes


class MixedEpisodes:
    """Episodes of several sources, such as a gallery under several shifts, each by its number of texts.

    A batch has episodes of all of them: an agent that got one source at a time could not tell what a source
    makes of a query from the luck of a batch.

    Args:
        parts: Sources on the same decision process, with the same number of candidates.

    Raises:
        ValueError: There is none, or they differ in their process or in their number of candidates.
    """

    def __init__(self, parts: Sequence[HardNegativeEpisodes]) -> None:
        if not parts:
            raise ValueError("parts: expected one source or more")
        if any(part.core is not parts[0].core for part in parts):
            raise ValueError("parts: expected sources on one decision process")
        sizes = sorted({part.candidates.shape[1] for part in parts})
        if len(sizes) > 1:
            raise ValueError(f"parts: expected equal numbers of candidates, got {sizes}")
        self.parts = tuple(parts)

    @property
    def core(self) -> CalibrationCore:
        """The decision process."""
        return self.parts[0].core

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def sample(self, count: int, generator: torch.Generator) -> Episode:
        """Draw ``count`` episodes; those of a source stand together."""
        rows = torch.randint(len(self), (count,), generator=generator, device=generator.device)
        found, start = [], 0
        for part in self.parts:
            own = rows[(rows >= start) & (rows < start + len(part))] - start
            if len(own):
                found.append(part.take(own.to(part.candidates.device)))
            start += len(part)
        return cast(Episode, torch.cat(cast(list[Tensor], found))) if len(found) > 1 else found[0]
