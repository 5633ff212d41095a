"""A shift in one file: colors fade towards gray, the more the higher the level."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from align3d.shifts import Cloud, register_shift


@register_shift("faded")
def faded(cloud: Cloud, rng: np.random.Generator, level: int = 2) -> Cloud:
    """Mixes every color with gray by 20 to 100 %, up to a tenth less or more from shape to shape."""
    share = min(1.0, 0.2 * (level + 1) * rng.uniform(0.9, 1.1))
    gray = cloud.colors.mean(axis=1, keepdims=True)  # [P, 1]
    return replace(cloud, colors=((1 - share) * cloud.colors + share * gray).astype(np.uint8))
