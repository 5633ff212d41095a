"""Demonstration source of episodes that needs no data: a real HAF, tiny and untrained, over random features.

It lets the environment be made with no arguments, for checkers, examples and tests. Nothing that an agent
learns here says anything about text or shapes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from envs.episode import Episode
from envs.functional import CalibrationCore, EnvConfig
from envs.protocol import FunctionalEnv, Source
from models import OBJECT_NODES, SIZES, HierarchicalAttentionFusion, PointHierarchy
from models.memory import CONTEXT, LibraryEvidence
from models.shapes import AXIS_CHANNELS, SPECTRUM_FREQUENCIES

CANDIDATES = 8
TOKENS = 12
GALLERY = 32
SHORTEST = 3
SIGNAL = 0.5


class DemoSource:
    """Random queries about random shapes, whose true shape resembles the query a little.

    Args:
        core: Decision process from ``demo_core``, or another one with a HAF of the same sizes.
        candidates: Number of candidates of every query, ``C``, at most ``gallery``.
        tokens: Largest number of tokens of a query, ``T``; the smallest is 3, or ``T`` if that is fewer.
        gallery: Number of shapes.
        numbers: Share of the tokens that are numbers.

    Raises:
        ValueError: No token, no candidate, or more candidates than shapes.
    """

    def __init__(
        self,
        core: CalibrationCore,
        candidates: int = CANDIDATES,
        tokens: int = TOKENS,
        gallery: int = GALLERY,
        numbers: float = 0.3,
    ) -> None:
        if tokens < 1:
            raise ValueError(f"tokens={tokens}: must be 1 or more")
        if not 1 <= candidates <= gallery:
            raise ValueError(f"candidates={candidates}: must lie in [1, {gallery}], the size of the gallery")
        self.core = core
        self.candidates = candidates
        self.tokens = tokens
        self.gallery = gallery
        self.numbers = numbers

    def sample(self, count: int, generator: torch.Generator) -> Episode:
        """Draw ``count`` rows; each has one true candidate, at a random place, among others."""
        haf = self.core.haf
        width, size, length = haf.query.in_features, self.gallery, self.tokens
        shortest = min(SHORTEST, length)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator)

        def below(bound: int, *shape: int) -> Tensor:
            return torch.randint(0, bound, shape, generator=generator)

        patches, regions, objects = haf.level_sizes
        region = torch.cat(
            [
                below(regions, size, patches),
                torch.arange(regions).expand(size, -1),
                torch.full((size, objects), regions),
            ],
            dim=1,
        )
        topic = normal(size, 1, width)
        shapes = PointHierarchy(
            nodes=normal(size, sum(haf.level_sizes), width) + SIGNAL * topic,
            centers=torch.nn.functional.normalize(normal(size, sum(haf.level_sizes), 3), dim=-1),
            region=region,
            extent=normal(size, 3),
            spectrum=torch.rand((size, 3, AXIS_CHANNELS, SPECTRUM_FREQUENCIES), generator=generator) / 10,
            embedding=torch.nn.functional.normalize(topic.squeeze(1), dim=-1),
        )
        candidates = torch.rand((count, size), generator=generator).argsort(1)[:, : self.candidates]
        true = below(self.candidates, count, 1)
        tokens = normal(count, length, width) + SIGNAL * topic[candidates.gather(1, true).squeeze(1)]
        mask = torch.arange(length) < below(length - shortest + 1, count, 1) + shortest
        is_number = torch.rand((count, length, 1), generator=generator) < self.numbers
        quantities = torch.where(is_number, normal(count, length, 2).exp(), torch.nan)
        positives = torch.arange(self.candidates) == true
        own_score = normal(count, self.candidates)
        hubness = normal(size, 1).squeeze(1)[candidates]  # which every text's score of a shape contains
        library = LibraryEvidence(
            recall=normal(count, self.candidates) + SIGNAL * positives,
            hubness=hubness,
            context=torch.rand((count, len(CONTEXT)), generator=generator),
            batch_size=[count],
        )
        attention = haf.attend(
            tokens, mask, quantities, shapes, candidates, own_score + hubness, library=library
        )
        return self.core.episode(attention.detach(), positives)


def demo_core(config: EnvConfig | None = None, seed: int = 0, size: str = "tiny") -> CalibrationCore:
    """A core around an untrained HAF of a size of ``models.SIZES``.

    Its weights follow from the seed; the global random state is left alone.
    """
    sizes = SIZES[size]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        haf = HierarchicalAttentionFusion(sizes, (sizes.patches, sizes.regions, OBJECT_NODES))
    return CalibrationCore(haf.eval().requires_grad_(False), config)


def given_or_demo(
    core: FunctionalEnv | None, episodes: Source | None, config: EnvConfig | None
) -> tuple[FunctionalEnv, Source]:
    """The core and the episodes that an adapter was given, or those of the demonstration.

    Args:
        core: The decision process, None for a demonstration.
        episodes: Source of its episodes, None for a demonstration.
        config: Settings of the demonstration.

    Raises:
        ValueError: A core without episodes or the other way round, or settings for a core that has its own.
    """
    if (core is None) != (episodes is None):
        raise ValueError("give both core and episodes, or neither for the demonstration")
    if core is not None and config is not None:
        raise ValueError("config is for the demonstration; the given core has its own")
    if core is None or episodes is None:
        demo = demo_core(config)
        return demo, DemoSource(demo)
    return core, episodes
