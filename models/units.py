"""Units behind numbers: which are lengths, and how many millimeters they are."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

_METER = {"nano": 1e-6, "micro": 1e-3, "milli": 1.0, "centi": 10.0, "deci": 100.0, "": 1000.0, "kilo": 1e6}
_SYMBOLS = {"nm": 1e-6, "μm": 1e-3, "um": 1e-3, "mm": 1.0, "cm": 10.0, "dm": 100.0, "km": 1e6}
_NAMES = {
    "micron": 1e-3,
    "mil": 0.0254,
    "thou": 0.0254,
    "inch": 25.4,
    "foot": 304.8,
    "yard": 914.4,
    "mile": 1_609_344.0,
}
_PLURALS = {"inch": "inches", "foot": "feet", "thou": "thou"}


def _lengths() -> dict[str, float]:
    lengths = {"m": 1000.0, "ft": 304.8, "yd": 914.4, **_SYMBOLS}
    for prefix, factor in _METER.items():
        for spelling in ("meter", "metre"):
            lengths |= {prefix + spelling: factor, prefix + spelling + "s": factor}
    for name, factor in _NAMES.items():
        lengths |= {name: factor, _PLURALS.get(name, name + "s"): factor}
    return lengths


INCH, FOOT = 25.4, 304.8
MILLIMETERS_PER_UNIT: Mapping[str, float] = MappingProxyType(_lengths())
"""By symbol or name in lower case, with the Greek letter mu; of symbols that mean one thing alone."""
INCH_MARKS = ('"', "″", "”", "''", "′′", "’’")
FOOT_MARKS = ("'", "′", "’")
#: Symbols of what is no length, whose case counts. Bare C, F, H, J, K, L and N are most often parts of codes.
_PREFIXES = {
    "V": ("", "k", "m", "µ", "u"),
    "A": ("", "k", "m", "µ", "u", "n"),
    "W": ("", "k", "M", "m"),
    "Hz": ("", "k", "M", "G"),
    "Ω": ("", "k", "M", "m"),
    "F": ("p", "n", "µ", "u", "m"),
    "H": ("n", "µ", "u", "m"),
    "Pa": ("", "h", "k", "M"),
    "Nm": ("", "m", "c"),
    "g": ("", "k", "m", "µ", "u"),
    "s": ("", "m", "µ", "u", "n"),
    "B": ("k", "M", "G"),
    "Wh": ("", "k"),
    "Ah": ("", "m"),
    "bit": ("", "k", "M", "G"),
}
_BARE: tuple[str, ...] = ("kN", "VA", "dB", "dBi", "dBm", "lb", "lbs", "oz", "ml", "mL", "min", "rpm", "lm")
_BARE += ("cd", "lx", "psi", "bar", "mbar", "deg", "rad", "%", "‰", "°", "°C", "°F", "°K", "℃", "℉")
_WRITTEN = (
    "volt amp ampere watt ohm kilohm megohm farad henry hertz kilohertz megahertz gigahertz pascal newton "
    "joule gram kilogram kilo tonne ton pound ounce liter litre milliliter millilitre second minute hour day "
    "week month year degree celsius fahrenheit kelvin percent lumen candela byte kilobyte megabyte gigabyte "
    "millivolt kilovolt milliamp milliampere milliwatt kilowatt microfarad nanofarad picofarad decibel"
)
_RATES = tuple(f"{unit}/{time}" for unit in ("mm", "cm", "m", "km", "in", "ft") for time in ("s", "min", "h"))
OTHER_SYMBOLS = frozenset(
    {
        prefix.replace("µ", mu) + unit
        for unit, prefixes in _PREFIXES.items()
        for prefix in prefixes
        for mu in ("µ", "μ")
    }
    | {*_BARE, *_RATES}
)
OTHER_NAMES = frozenset(
    {name for word in _WRITTEN.split() for name in (word, word + "s")}
    | {"km/h", "mph", "kg", "mah", "hz", "mhz"}
)
_POWERS = {"²": 2, "³": 3, "2": 2, "3": 3}


@lru_cache(4096)
def millimeters(unit: str) -> float | None:
    """Millimeters in a unit that is written behind a number.

    A lone capital ``M`` and ``in`` say nothing by themselves and are left to `models.quantities`.

    Args:
        unit: A word or mark as it was written.

    Returns:
        NaN for a unit of something else than a length, None for what is no unit.
    """
    if unit == "M" or unit.lower() == "in":
        return None
    if unit in INCH_MARKS:
        return INCH
    if unit in FOOT_MARKS:
        return FOOT
    if unit in OTHER_SYMBOLS:
        return math.nan
    folded = unicodedata.normalize("NFKC", unit).casefold()
    if folded in MILLIMETERS_PER_UNIT:
        return MILLIMETERS_PER_UNIT[folded]
    if folded in OTHER_NAMES or side_of_power(unit) is not None:
        return math.nan
    return None


@lru_cache(4096)
def side_of_power(unit: str) -> tuple[float, int] | None:
    """Millimeters in the side of an area or a volume, and the power: ``(10, 2)`` of "cm²"; None of others."""
    power = _POWERS.get(unit[-1:])
    base = unit[:-1].removesuffix("^").casefold()
    if power is None:
        return None
    side = INCH if base == "in" else MILLIMETERS_PER_UNIT.get(base)
    return None if side is None else (side, power)
