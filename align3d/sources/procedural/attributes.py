"""Attributes of a shape that can vary, such as colors, counts, lengths and styles, and their words.

Values are plain integers (counts, millimeters) and strings, so that their canonical JSON, and with it the
content hash, is the same on every machine. The names of attributes are hashed too, so their spelling (such as
"body_colour") must not change.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from align3d.hashing import hash_json

Value = str | int


@dataclass(frozen=True)
class Finish:
    """A color or material: its mean color and the scatter of points around it, in levels of 0-255."""

    rgb: tuple[int, int, int]
    noise: float


def _paint(red: int, green: int, blue: int) -> Finish:
    return Finish((red, green, blue), 3.0)


PALETTE: dict[str, Finish] = {
    "red": _paint(200, 35, 40),
    "orange": _paint(240, 130, 25),
    "yellow": _paint(245, 215, 50),
    "green": _paint(45, 150, 65),
    "blue": _paint(40, 80, 190),
    "purple": _paint(120, 50, 150),
    "pink": _paint(245, 150, 185),
    "turquoise": _paint(50, 200, 195),
    "black": _paint(28, 28, 30),
    "white": _paint(240, 240, 238),
    "grey": _paint(125, 128, 130),
    "oak": Finish((200, 160, 105), 9.0),
    "walnut": Finish((95, 62, 40), 7.0),
    "steel": Finish((175, 182, 190), 6.0),
    "brass": Finish((190, 160, 70), 6.0),
    "copper": Finish((185, 105, 70), 6.0),
    "gold": Finish((225, 180, 60), 5.0),
    "glass": Finish((205, 228, 232), 3.0),
    "terracotta": Finish((190, 95, 65), 6.0),
}

PAINTS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "turquoise", "black", "white", "grey")
WOODS = ("oak", "walnut")
METALS = ("steel", "brass", "copper")

_NUMBERS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
]


def count_word(count: int) -> str:
    """A count in words up to twenty, in digits above: 3 -> "three", 24 -> "24"."""
    return _NUMBERS[count] if count < len(_NUMBERS) else str(count)


def article(words: str) -> str:
    """Put the right indefinite article before a phrase: "an oak table", "an 18 mm bolt", "a blue one"."""
    first = words.split(maxsplit=1)[0].lower()
    vowel = first[0] in "aeiou" and not first.startswith(("one", "u-", "uni", "use", "usb"))
    if first[0].isdigit():
        whole = first.split(".")[0].split("-")[0].split("x")[0]
        vowel = whole.startswith("8") or whole in ("11", "18")
    return f"an {words}" if vowel else f"a {words}"


def plural(noun: str) -> str:
    """Plural of a noun phrase's last word: "shelf" -> "shelves", "loop handle" -> "loop handles"."""
    if noun.endswith(("foot", "tooth")):
        return noun.replace("foot", "feet").replace("tooth", "teeth")
    if noun.endswith("shelf"):
        return noun[:-1] + "ves"
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    return noun + "s"


def length_text(millimeters: int, unit: str) -> str:
    """A length in its unit without needless zeros: (450, "cm") -> "45 cm", (1250, "m") -> "1.25 m"."""
    return f"{millimeters / {'mm': 1, 'cm': 10, 'm': 1000}[unit]:g} {unit}"


def pick(rng: np.random.Generator, count: int) -> int:
    """A uniform index below ``count``.

    It uses nothing but ``random()``, whose numbers NumPy keeps between versions, unlike those of ``choice``
    and ``integers``.
    """
    return min(int(rng.random() * count), count - 1)


@dataclass(frozen=True, kw_only=True)
class Attribute(ABC):
    """One thing that can vary.

    Attributes:
        when: The attribute exists only where another one has one of these values: (name, values). A handle's
            side is no property of a mug without a handle.
    """

    when: tuple[str, tuple[Value, ...]] | None = None

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> Value:
        """Draw a value."""

    @abstractmethod
    def others(self, value: Value) -> list[Value]:
        """Values that a near-twin may have instead: different enough to be seen, near enough to be hard."""

    @abstractmethod
    def allows(self, value: Value) -> bool:
        """Whether a value is one that this attribute can have."""


@dataclass(frozen=True)
class Choice(Attribute):
    """A style: one of a few words."""

    values: tuple[str, ...]

    def draw(self, rng: np.random.Generator) -> Value:
        """Draw a value."""
        return self.values[pick(rng, len(self.values))]

    def others(self, value: Value) -> list[Value]:
        """All other words."""
        return [other for other in self.values if other != value]

    def allows(self, value: Value) -> bool:
        """Whether the word is one of the values."""
        return value in self.values


@dataclass(frozen=True)
class Color(Choice):
    """A color or material.

    Attributes:
        part: The part that has it.
        unlike: Attributes whose color it must not share, because the parts would melt into one.
    """

    part: str = ""
    unlike: tuple[str, ...] = field(default=(), kw_only=True)

    def apart(self, values: Mapping[str, Value]) -> Color:
        """The same without the colors that the attributes in ``unlike`` have."""
        if not self.unlike:
            return self
        taken = {values.get(name) for name in self.unlike}
        return replace(self, values=tuple(value for value in self.values if value not in taken))


@dataclass(frozen=True)
class Count(Attribute):
    """A count of a part, one of ``values``, of which near-twins have the next lower or higher one."""

    values: tuple[int, ...]
    part: str = ""

    def draw(self, rng: np.random.Generator) -> Value:
        """Draw a value."""
        return self.values[pick(rng, len(self.values))]

    def others(self, value: Value) -> list[Value]:
        """The neighbors among the values."""
        at = self.values.index(int(value))
        return [*self.values[max(at - 1, 0) : at], *self.values[at + 1 : at + 2]]

    def allows(self, value: Value) -> bool:
        """Whether the count is one of the values."""
        return value in self.values


@dataclass(frozen=True)
class Length(Attribute):
    """A length in whole millimeters from ``low`` to ``high``, a multiple of ``step`` above ``low``."""

    low: int
    high: int
    step: int
    unit: str = "cm"

    def draw(self, rng: np.random.Generator) -> Value:
        """Draw a value."""
        return self.low + self.step * pick(rng, (self.high - self.low) // self.step + 1)

    def others(self, value: Value) -> list[Value]:
        """Lengths about 1.3 to 1.6 times shorter or longer."""
        rounded = [self._round(int(value) * factor) for factor in (1 / 1.6, 1 / 1.3, 1.3, 1.6)]
        return [other for other in rounded if self.allows(other)]

    def allows(self, value: Value) -> bool:
        """Whether the length is on the grid."""
        return (
            isinstance(value, int) and self.low <= value <= self.high and (value - self.low) % self.step == 0
        )

    def _round(self, value: float) -> int:
        return self.low + self.step * math.floor((value - self.low) / self.step + 0.5)

    def word(self, value: int, small: str, large: str) -> str:
        """``small`` in the lowest 30 % of the range, ``large`` in the highest 30 %, otherwise nothing."""
        share = (value - self.low) / (self.high - self.low)
        return small if share <= 0.3 else large if share >= 0.7 else ""


def draw_values(attributes: Mapping[str, Attribute], rng: np.random.Generator) -> dict[str, Value]:
    """Draw all attributes that exist, in their order; one's condition may look at those before it."""
    values: dict[str, Value] = {}
    for name, attribute in attributes.items():
        if exists(attribute, values):
            free = attribute.apart(values) if isinstance(attribute, Color) else attribute
            values[name] = free.draw(rng)
    return values


def exists(attribute: Attribute, values: Mapping[str, Value]) -> bool:
    """Whether an attribute exists beside these values."""
    return attribute.when is None or values.get(attribute.when[0]) in attribute.when[1]


def is_valid(attributes: Mapping[str, Attribute], values: Mapping[str, Value]) -> bool:
    """Whether exactly the attributes that exist have values, all of them allowed."""
    for name, attribute in attributes.items():
        if exists(attribute, values) != (name in values):
            return False
        if name not in values:
            continue
        if not attribute.allows(values[name]):
            return False
        if isinstance(attribute, Color) and any(values.get(u) == values[name] for u in attribute.unlike):
            return False
    return True


def twin_changes(
    attributes: Mapping[str, Attribute], values: Mapping[str, Value]
) -> list[tuple[str, list[Value]]]:
    """Every attribute that can change alone, with its possible new values.

    A change that makes another attribute appear or vanish would be two changes, so it is left out.
    """
    changes = []
    for name, value in values.items():
        allowed = [
            other for other in attributes[name].others(value) if is_valid(attributes, {**values, name: other})
        ]
        if allowed:
            changes.append((name, allowed))
    return changes


@dataclass(frozen=True)
class Parameters:
    """Everything that determines a shape: its family and the values of its attributes.

    Attributes:
        family: The family's name.
        values: Count, millimeters or word by attribute.
    """

    family: str
    values: Mapping[str, Value] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Value:
        return self.values[name]

    def __contains__(self, name: object) -> bool:
        return name in self.values

    def text(self, name: str) -> str:
        """A style's or color's word."""
        return str(self.values[name])

    def count(self, name: str) -> int:
        """A count."""
        return int(self.values[name])

    def meters(self, name: str) -> float:
        """A length in meters."""
        return int(self.values[name]) / 1000

    def replaced(self, name: str, value: Value) -> Parameters:
        """The same with one value changed."""
        return Parameters(self.family, {**self.values, name: value})

    def content_hash(self) -> str:
        """Sha256 hex of the canonical JSON of family and values."""
        return hash_json({"family": self.family, "values": dict(self.values)})
