"""Fourier features of positive quantities, shared by numbers in a text and by sizes of a shape.

A count or a length is compared on a logarithmic scale: 13 against 14 pins must be as easy to tell as 2.0 mm
against 2.15 mm. Using the same frequencies on both sides lets a plain dot product compare the two.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SMALLEST, LARGEST = 1e-9, 1e12
"""Least and greatest value, and length in millimeters, that enter a network."""
OCTAVE_FREQUENCIES = (0.0625, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # cycles per doubling of the value
COUNTS = 64  # whole numbers up to this have a feature each, like the repetitions in a shape's spectrum

LOG_FEATURES = 1 + 2 * len(OCTAVE_FREQUENCIES)
NUMBER_FEATURES = 2 + LOG_FEATURES + COUNTS


def log_features(value: Tensor) -> Tensor:
    """Log-scale Fourier features.

    Args:
        value: ``[...]`` positive quantities in any fixed unit; taken for `SMALLEST` or `LARGEST` beyond
            them.

    Returns:
        ``[..., LOG_FEATURES]``: the binary logarithm divided by 8, then sines and cosines of it.
    """
    octaves = value.clamp(SMALLEST, LARGEST).log2()
    frequency = torch.tensor(OCTAVE_FREQUENCIES, device=value.device, dtype=value.dtype)
    angle = 2 * math.pi * octaves.unsqueeze(-1) * frequency
    return torch.cat([octaves.unsqueeze(-1) / 8, angle.sin(), angle.cos()], dim=-1)


def number_features(value: Tensor) -> Tensor:
    """Features of numbers written in a text.

    Args:
        value: ``[...]`` the numbers, whose sign does not count; NaN where a token is not a number.

    Returns:
        ``[..., NUMBER_FEATURES]``: whether it is a number, whether it is whole, `log_features`, and for each
        count from 1 to `COUNTS` how near the value is to it; all zero where there is no number.
    """
    is_number = ~value.isnan()
    safe = torch.where(is_number, value.abs().clamp_max(LARGEST), torch.ones_like(value))
    counts = torch.arange(1, COUNTS + 1, device=value.device, dtype=value.dtype)
    features = torch.cat(
        [
            torch.ones_like(safe).unsqueeze(-1),
            (safe == safe.round()).to(safe).unsqueeze(-1),
            log_features(safe),
            (1 - (safe.unsqueeze(-1) - counts).abs()).clamp_min(0),
        ],
        dim=-1,
    )
    return features * is_number.unsqueeze(-1)
