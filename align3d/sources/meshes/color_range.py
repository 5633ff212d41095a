"""Range of color values whose file does not say it: 0 to 1, 0 to 255, or 16 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from align3d.sources.meshes.scene import Floats

_OVERBRIGHT = 2.0
"""Largest value that is still taken for one in 0 to 1: rounding, or light that is brighter than white."""


class UnknownRange(Exception):
    """Values that cannot be colors. The message says why, in a few words."""


def to_255(values: NDArray[Any]) -> Floats:
    """Color values as whole numbers in 0..255.

    Bytes are what they are. Otherwise the largest value of the file decides: below 2, values are in 0 to 1;
    up to 255, in 0 to 255; up to 65535, of 16 bits.

    Args:
        values: [..., 3] numbers of any type.

    Returns:
        f64[..., 3].

    Raises:
        UnknownRange: A value that is negative, not finite or too large.
    """
    if values.dtype == np.uint8:
        return values.astype(np.float64)
    colors = values.astype(np.float64)
    if not len(colors):
        return colors
    if not np.isfinite(colors).all():
        raise UnknownRange("a color that is not a number")
    least, most = float(colors.min()), float(colors.max())
    if least < 0.0:
        raise UnknownRange(f"a color of {least:g}, expected numbers in 0 to 1 or in 0 to 255")
    if most > 65535.0:
        raise UnknownRange(f"a color of {most:g}, expected numbers in 0 to 1 or in 0 to 255")
    scale = 255.0 if most < _OVERBRIGHT else 1.0 if most <= 255.0 else 255.0 / 65535.0
    bounded: Floats = np.minimum(colors * scale, 255.0)
    return np.round(bounded)
