"""Unit of a number in a text, by the words around it.

The rules, with those for what is ambiguous, are written down in docs/model.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from models.units import INCH, millimeters, side_of_power
from models.words import PRODUCTS, RANGE_MARKS

SHARING = frozenset((*PRODUCTS, *RANGE_MARKS, "to", "and", "or"))
"""Words and marks between numbers that share the unit behind the last."""
SHARES_OF_UNITS = {"half": 0.5, "Half": 0.5, "quarter": 0.25, "Quarter": 0.25}
"""Numbers where a unit of length follows: half an inch, but not threaded over one half."""
_BEHIND_IN = (
    "a an the one each every all total row rows line lines series parallel stock use number this that these "
    "those its their his her our your my order and of between front which and black white red green blue "
    "gray grey brown yellow oak wood metal steel plastic"
)
_NO_INCH = frozenset(_BEHIND_IN.split())  # 8 in a row
_BEHIND_LENGTHS = (
    "tall wide long high deep thick across diameter diagonal height width length depth thickness radius "
    "pitch x by"
)
_MEASURES = frozenset(_BEHIND_LENGTHS.split())  # 2 M tall
_SIDES = frozenset("WDHLwdhl")  # 36W x 24D x 30H in
_PARTS = frozenset(("with", "on", "has", "its", "and"))  # with four feet

Values = Sequence[float | None]
Units = dict[int, float | None]


def share_of_unit(tokens: Sequence[str], i: int) -> float | None:
    """Value of a half or a quarter of a unit of length; None where no unit follows."""
    unit = next((token for token in tokens[i + 1 : i + 3] if token not in ("a", "an", "of")), "")
    factor = millimeters(unit) if unit.isalpha() else None
    return None if factor is None or math.isnan(factor) else SHARES_OF_UNITS[tokens[i]]


def unit_of(tokens: Sequence[str], values: Values, i: int, known: Units) -> float | None:
    """Millimeters in the unit of the number at ``i``: NaN for no length, None where it has no unit.

    Args:
        tokens: All of the text.
        values: Their values, None for words.
        i: Place of the number.
        known: Units of the numbers behind it.
    """
    if i + 1 >= len(tokens):
        return None
    behind, following = tokens[i + 1], tokens[i + 2] if i + 2 < len(tokens) else ""
    if values[i + 1] is not None:
        return known[i + 1] if behind[0] in "±+" else None  # 10 ±0.1 mm
    if behind in SHARING and following and values[i + 2] is not None:
        return known[i + 2]
    if behind in _SIDES and (side := _unit_of_side(tokens, values, i, known)) is not None:
        return side
    if behind in ("an", "a", "of") and tokens[i] in SHARES_OF_UNITS:
        return millimeters(following)
    return _unit_behind(tokens, values, i, behind, following.lower())


def _unit_of_side(tokens: Sequence[str], values: Values, i: int, known: Units) -> float | None:
    """Unit of a number with the name of a side behind it, if it is part of a product."""
    following = tokens[i + 2] if i + 2 < len(tokens) else ""
    if following in PRODUCTS and i + 3 < len(tokens) and values[i + 3] is not None:
        return known[i + 3]
    if not i or tokens[i - 1] not in PRODUCTS:
        return None
    return INCH if following == "in" else millimeters(following)


def _unit_behind(tokens: Sequence[str], values: Values, i: int, behind: str, following: str) -> float | None:
    """Unit by the word behind a number, and where that may mean two things by the next."""
    word = behind.lower()
    if behind == "M":  # mega, a maker's name, a size of thread: M3
        return 1000.0 if following in _MEASURES else None if following[:1].isdecimal() else math.nan
    if word in ("in", "ft") and following in ("lb", "lbs"):  # a torque
        return math.nan
    if word == "in":
        return INCH if _is_inch(tokens[i], values[i], following) else None
    if word in ("foot", "feet") and _counts_feet(tokens, values, i, following):
        return None
    if word in ("square", "sq", "cubic", "cu") and millimeters(following) is not None:
        return math.nan
    if (power := side_of_power(behind)) is not None:
        is_side = i >= 2 and tokens[i - 1] in PRODUCTS and values[i - 2] is not None  # 4x3 mm²
        return power[0] if is_side else math.nan
    return millimeters(behind)


def _is_inch(token: str, value: float | None, following: str) -> bool:
    """Whether "in" behind a number is the unit, by the word that follows it."""
    if following in _MEASURES or not following:
        return True
    if following in _NO_INCH or following[0].isdecimal():
        return False
    return not token.isalpha() or (value is not None and value != round(value))


def _counts_feet(tokens: Sequence[str], values: Values, i: int, following: str) -> bool:
    """Whether feet are parts: "on four feet" and "with 4 feet", not "4 feet tall"."""
    before, value = tokens[i - 1].lower() if i else "", values[i]
    few = value is not None and value == round(value) and 1 <= value <= 12
    return few and before in _PARTS and following not in _MEASURES
