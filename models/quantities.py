"""Numbers in a text: how many, and how long if it is a length.

The rules, with those for what is ambiguous, are written down in docs/model.md.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import regex
import torch
from torch import Tensor

from models.fourier import LARGEST
from models.number_units import SHARES_OF_UNITS, SHARING, share_of_unit, unit_of
from models.units import FOOT, INCH
from models.words import RANGE_MARKS, TEENS, TENS, UNITS_TO_TEN, tokenize

NUMBER_WORDS = {
    **{word: float(value) for value, word in enumerate([*UNITS_TO_TEN, *TEENS], start=1)},
    **{word: 10.0 * value for value, word in enumerate(TENS, start=2)},
    "zero": 0.0,
}
_FACTORS = {"dozen": 12.0, "hundred": 100.0, "thousand": 1000.0}
_SIGNS = regex.compile(r"^(\+/-|\+-|±|[-−+])\s?")
_FRACTION = regex.compile(r"^(?:(\d+)[ \u00a0-])?(\d+)[/⁄](\d+)$")
_VULGAR = regex.compile(r"^(\d*)\s?([¼-¾⅐-⅞↉])$")
_POWER = regex.compile(r"^([\d.,]+)\s?[×x·*]\s?10\^?([-−+⁺⁻]?[\d⁰¹²³⁴-⁹]+)$")
_EXPONENT = regex.compile(r"^([\d.,]+)[eE]([-−+]?\d+)$")
_AMBIGUOUS = regex.compile(r"^[1-9]\d{0,2},\d{3}$")
_DECIMAL_COMMA = regex.compile(r"^(?:\d+|\d{1,3}(?:\.\d{3})+),\d+$")
_THOUSANDS = regex.compile(r"^[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?$")
_SEPARATORS = regex.compile(r"[\s'’]")


def read_quantities(tokens: Sequence[str], decimal_comma: bool = False) -> Tensor:
    """The numbers among the tokens of a text.

    Args:
        tokens: Words and numbers as they were written, from `models.words.tokenize`.
        decimal_comma: Whether 1,234 is a little more than one, where no number beside it decides that.

    Returns:
        ``[len(tokens), 2]``: the value, and the length in millimeters, which is never negative. A number
        without a unit is taken for millimeters; one with a unit of something else has the length NaN. Both
        are NaN where a token is not a number, and neither is larger than `models.fourier.LARGEST`.
    """
    said = _commas(tokens)
    comma = decimal_comma if said == 0 else said > 0
    values = [
        share_of_unit(tokens, i) if token in SHARES_OF_UNITS else _value(token, comma)
        for i, token in enumerate(tokens)
    ]
    quantities = np.full((len(tokens), 2), np.nan)
    unit: dict[int, float | None] = {}
    for i in reversed(range(len(tokens))):
        value = values[i]
        if value is None:
            continue
        factor = unit[i] = unit_of(tokens, values, i, unit)
        quantities[i] = value, abs(value) * (1.0 if factor is None else factor)
        _add_inches(quantities, tokens, i, unit)
    return torch.from_numpy(quantities.clip(-LARGEST, LARGEST)).float()


def prefers_decimal_comma(texts: Iterable[str]) -> bool:
    """Whether numbers such as 2,54 outnumber those such as 1,234.5 in texts, which settles what 1,234 is."""
    return sum(_commas([word for word, _, _ in tokenize(text)]) for text in texts if "," in text) > 0


def _commas(tokens: Sequence[str]) -> int:
    """Number of decimal commas less that of commas between thousands, those that may be both aside."""
    balance = 0
    for token in tokens:
        if "," in token and not _AMBIGUOUS.match(body := _SIGNS.sub("", token)):
            balance += bool(_DECIMAL_COMMA.match(body)) - bool(_THOUSANDS.match(body))
    return balance


@lru_cache(1 << 16)
def _value(token: str, decimal_comma: bool) -> float | None:
    """The value of a number in digits or words; None for a word."""
    if token in RANGE_MARKS:
        return None
    body = _SIGNS.sub("", token)
    if not body[:1].isdecimal() and body[:1] != "." and not _VULGAR.match(body):
        return _written(token.lower())
    minus = token[0] in "-−"
    value = _of_digits(body, decimal_comma)
    return -value if minus else value


def _of_digits(body: str, decimal_comma: bool) -> float:
    if match := _FRACTION.match(body):
        return float(match[1] or 0) + float(match[2]) / float(match[3])
    if match := _VULGAR.match(body):
        return float(match[1] or 0) + unicodedata.numeric(match[2])
    if match := _POWER.match(body) or _EXPONENT.match(body):
        exponent = unicodedata.normalize("NFKC", match[2]).replace("−", "-")
        return _of_digits(match[1], decimal_comma) * 10.0 ** int(exponent)
    body = _SEPARATORS.sub("", body)
    if "," in body:
        thousands = _THOUSANDS.match(body) and not (decimal_comma and _AMBIGUOUS.match(body))
        body = body.replace(",", "") if thousands else body.replace(".", "").replace(",", ".")
    elif body.count(".") > 1:
        body = body.replace(".", "")
    return float(body)


def _written(words: str) -> float | None:
    """The value of a number in words, such as "two hundred and five"; None where it is none."""
    if words.isalpha() and words not in NUMBER_WORDS and words not in _FACTORS:
        return None
    if words == "half a dozen":
        return 6.0
    total, current = 0.0, 0.0
    for word in regex.split(r"[-, ]+", words.replace(" and a half", " half")):
        if word == "and":
            continue
        if word in NUMBER_WORDS:
            current += NUMBER_WORDS[word]
        elif word == "half":
            current += 0.5
        elif word in _FACTORS:
            current = (current or 1.0) * _FACTORS[word]
            if word == "thousand":
                total, current = total + current, 0.0
        else:
            return None
    return total + current


def _add_inches(quantities: np.ndarray, tokens: Sequence[str], i: int, unit: dict[int, float | None]) -> None:
    """Makes 5' 10" one length that both of its numbers have."""
    if unit[i] == FOOT and unit.get(i + 2) == INCH and tokens[i + 1] not in SHARING:
        quantities[i, 1] = quantities[i + 2, 1] = quantities[i, 1] + quantities[i + 2, 1]
