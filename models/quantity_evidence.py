"""Evidence on numbers from the measures of a shape: is it so long, does it repeat so often, or so far apart?

A learned code for "13" must see every count in training before it can tell 13 pins from 14. Looking it up in
what was measured on the shape needs no code: the same three questions serve every number, seen before or
not. Which question a token asks, and along which axis, is left to the network and to its attention.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.fourier import LARGEST, SMALLEST

COUNT_OFFSETS = (-1.0, 0.0, 1.0)  # the last gap of a row may be missing, so neighbors of a count tell too
WIDTHS = (0.02, 0.08, 0.3)  # octaves within which two lengths count as equal
LARGEST_OCTAVE = 12.0  # 4096 repetitions: far beyond any spectrum
SPECTRUM_GAIN = 10.0  # peaks of a spectrum are about a tenth
NO_LENGTH = 64.0  # binary logarithm that stands for what is no length: beyond that of any
CHANNELS = 2
EVIDENCE = CHANNELS * (len(COUNT_OFFSETS) + 1) + len(WIDTHS) + 1
"""Length of the last axis of `quantity_evidence`."""


def quantity_evidence(quantities: Tensor, extent: Tensor, spectrum: Tensor) -> Tensor:
    """Evidence for each number along each axis of each candidate.

    For a number v, of v' millimeters as a length, and an axis of s millimeters: the strength of v - 1, v and
    v + 1 repetitions; the strength of a repetition every v', that is of s / v' repetitions; how nearly v'
    equals s, at several widths; and which of them is larger.

    Args:
        quantities: ``[B, T, 2]`` values, and in millimeters as lengths; NaN where a token is not a number,
            and the length where it is none: 12 V asks only how often.
        extent: ``[B, C, 3]`` binary logarithms of the bounding box in millimeters.
        spectrum: ``[B, C, 3, CHANNELS, F]`` strength of 1 to F repetitions within the bounding box.

    Returns:
        ``[B, C, T, 3, EVIDENCE]``, zero where a token is not a number; what lengths say is zero where it is
        no length.
    """
    real = ~quantities[..., 0].isnan()
    value, log = value_and_log_length(quantities)
    value, log, size = value[:, None, :, None], log[:, None, :, None], extent.unsqueeze(2)  # [B, C, T, 3]
    count = value.expand(-1, extent.shape[1], -1, 3)  # [B, C, T, 3]
    repetitions = [count + offset for offset in COUNT_OFFSETS] + [
        (size - log).clamp(max=LARGEST_OCTAVE).exp2()
    ]
    strengths = [_look_up(spectrum, x) for x in repetitions]  # each [B, C, T, 3, CHANNELS]
    ratio = log - size  # [B, C, T, 3]
    equal = [torch.exp(-((ratio / width) ** 2)) for width in WIDTHS]
    larger = torch.where(log < NO_LENGTH, ratio.tanh(), 0.0)
    evidence = torch.cat([*strengths, torch.stack([*equal, larger], dim=-1)], dim=-1)
    return evidence * real[:, None, :, None, None]


def value_and_log_length(quantities: Tensor) -> tuple[Tensor, Tensor]:
    """Values ``[...]`` and binary logarithms of lengths ``[...]`` of quantities ``[..., 2]``, all finite.

    Signs do not count. `NO_LENGTH` is the logarithm of what is no length.
    """
    value, length = quantities.unbind(-1)
    log = length.abs().clamp(SMALLEST, LARGEST).log2()
    return value.nan_to_num(1.0).abs().clamp(SMALLEST, LARGEST), log.nan_to_num(NO_LENGTH)


def _look_up(spectrum: Tensor, repetitions: Tensor) -> Tensor:
    """Linear interpolation of ``[B, C, 3, CHANNELS, F]`` at ``[B, C, T, 3]``: ``[B, C, T, 3, CHANNELS]``.

    Zero below one repetition and beyond F.
    """
    frequencies = spectrum.shape[-1]
    padded = torch.nn.functional.pad(spectrum, (1, 2)) * SPECTRUM_GAIN  # index = repetitions
    place = repetitions.clamp(0, frequencies + 1).permute(0, 1, 3, 2)  # [B, C, 3, T]
    below = place.floor()
    share = (place - below).unsqueeze(3)  # [B, C, 3, 1, T]
    index = below.long().unsqueeze(3).expand(*place.shape[:3], spectrum.shape[3], place.shape[3])
    value = padded.gather(4, index) * (1 - share) + padded.gather(4, index + 1) * share
    return value.permute(0, 1, 4, 2, 3)
