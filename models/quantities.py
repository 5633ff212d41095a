"""Numbers in a text: how many, and how long if it is a length."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_ONE_TO_TWENTY = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty"
)
NUMBER_WORDS = {word: value for value, word in enumerate(_ONE_TO_TWENTY.split(), start=1)}
MILLIMETRES_PER_UNIT = {
    "mm": 1.0,
    "cm": 10.0,
    "m": 1000.0,
    "inch": 25.4,
    "inches": 25.4,
    "mil": 0.0254,
    "mils": 0.0254,
}  # not "in": after a number it is most often the word
BETWEEN = ("x", "X", "by")  # 40 x 30 cm: what stands between numbers that share a unit


def read_quantities(tokens: Sequence[str]) -> Tensor:
    """The numbers among the tokens of a text.

    Args:
        tokens: Words and numbers as they were written.

    Returns:
        ``[len(tokens), 2]``: the value, and the value in millimetres by the unit behind it (a number without
        a unit is taken for millimetres); NaN where a token is not a number.
    """
    quantities = torch.full((len(tokens), 2), math.nan)
    for i in reversed(range(len(tokens))):
        value = _value(tokens[i])
        if value is not None:
            quantities[i] = torch.tensor([value, value * _unit(tokens, i)])
    return quantities


def _value(token: str) -> float | None:
    if token.isascii() and token[0].isdigit():
        return float(token)
    return NUMBER_WORDS.get(token.lower())


def _unit(tokens: Sequence[str], place: int) -> float:
    """Millimetres in the unit of the number at ``place``, through a chain of dimensions such as 4 x 3 cm."""
    behind = tokens[place + 1] if place + 1 < len(tokens) else ""
    if behind in BETWEEN and place + 2 < len(tokens) and _value(tokens[place + 2]) is not None:
        return _unit(tokens, place + 2)
    return MILLIMETRES_PER_UNIT.get(behind, 1.0)
