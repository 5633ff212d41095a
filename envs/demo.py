"""A small source of episodes that needs no data: a real HAF, tiny and untrained, over random features.

It lets the environment be made with no arguments, for checkers, examples and tests. Nothing that an agent
learns here says anything about text or shapes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from envs.episodes import Episode
from envs.functional import CalibrationCore, EnvConfig
from models import OBJECT_NODES, SIZES, HierarchicalAttentionFusion, PointHierarchy
from models.shapes import AXIS_CHANNELS, SPECTRUM_FREQUENCIES

CANDIDATES = 8
TOKENS = 12
GALLERY = 32
SIGNAL = 0.5


class DemoSource:
    """Random queries about random shapes, whose true shape resembles the query a little.

    Args:
        core: From `demo_core`; any HAF of the same sizes will do.
        candidates: `C` of every query.
    """

    def __init__(self, core: CalibrationCore, candidates: int = CANDIDATES) -> None:
        self.core = core
        self.candidates = candidates

    def sample(self, count: int, generator: torch.Generator) -> Episode:
        """Draw `count` rows; each has one true candidate, at a random place, among others."""
        haf = self.core.haf
        width = haf.query.in_features

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator)

        def below(bound: int, *shape: int) -> Tensor:
            return torch.randint(0, bound, shape, generator=generator)

        patches, regions, objects = haf.level_sizes
        region = torch.cat(
            [
                below(regions, GALLERY, patches),
                torch.arange(regions).expand(GALLERY, -1),
                torch.full((GALLERY, objects), regions),
            ],
            dim=1,
        )
        topic = normal(GALLERY, 1, width)
        shapes = PointHierarchy(
            nodes=normal(GALLERY, sum(haf.level_sizes), width) + SIGNAL * topic,
            centers=torch.nn.functional.normalize(normal(GALLERY, sum(haf.level_sizes), 3), dim=-1),
            region=region,
            extent=normal(GALLERY, 3),
            spectrum=torch.rand((GALLERY, 3, AXIS_CHANNELS, SPECTRUM_FREQUENCIES), generator=generator) / 10,
            embedding=torch.nn.functional.normalize(topic.squeeze(1), dim=-1),
        )
        candidates = torch.rand((count, GALLERY), generator=generator).argsort(1)[:, : self.candidates]
        true = below(self.candidates, count, 1)
        tokens = normal(count, TOKENS, width) + SIGNAL * topic[candidates.gather(1, true).squeeze(1)]
        mask = torch.arange(TOKENS) < below(TOKENS - 2, count, 1) + 3
        is_number = torch.rand((count, TOKENS, 1), generator=generator) < 0.3
        quantities = torch.where(is_number, normal(count, TOKENS, 2).exp(), torch.nan)
        attention = haf.attend(tokens, mask, quantities, shapes, candidates, normal(count, self.candidates))
        positives = torch.arange(self.candidates) == true
        return self.core.episode(attention.detach(), positives)


def demo_core(config: EnvConfig | None = None, seed: int = 0) -> CalibrationCore:
    """A core around a tiny HAF whose weights follow from the seed; the global random state is left alone."""
    sizes = SIZES["tiny"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        haf = HierarchicalAttentionFusion(sizes, (sizes.patches, sizes.regions, OBJECT_NODES))
    return CalibrationCore(haf.eval().requires_grad_(False), config)
