"""Base class of the families of objects, and their registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, TypeVar

from align3d.errors import DataError, did_you_mean
from align3d.sources.procedural.attributes import Attribute, Color, Parameters
from align3d.sources.procedural.builder import Builder
from align3d.sources.procedural.caption_grammar import Description


class Family(ABC):
    """A kind of parametric object: what varies, how it is built, what can be said of it.

    Conventions: meters, z up, standing around the origin on z = 0; the front faces -y, so that "left" is -x
    for someone who looks at the front. Every attribute must be sayable: the description names it, or
    near-twins could not be told apart. A part has one color; ``Color(..., part="leg")`` paints it, so that
    ``build`` need not.

    Example: a new family is one class in one file of this folder, found by itself.

        >>> from align3d.sources.procedural.attributes import PAINTS, Count, Length, Color
        >>> from align3d.sources.procedural.builder import row
        >>> from align3d.sources.procedural.primitives import box
        >>> class Fence(Family):
        ...     name = "fence"
        ...     attributes = {
        ...         "slats": Count((4, 5, 6), part="slat"),
        ...         "height": Length(600, 1800, 100),
        ...         "color": Color(PAINTS, part="slat"),
        ...     }
        ...
        ...     def build(self, p, shape):
        ...         shape.add("slat", box(0.1, 0.02, p.meters("height")), row(p.count("slats"), 0.15))
        ...
        ...     def describe(self, p, d):
        ...         d.measure("height", "tall", "low", "tall")
        ...         d.part("slat", "color", count="slats")
        >>> p = Parameters("fence", {"slats": 5, "height": 800, "color": "red"})
        >>> Fence().shape(p).part_names
        ('slat',)

    Attributes:
        name: The category of its records, and the noun of its captions unless ``noun`` says otherwise.
        noun: A noun phrase in the singular.
        synonyms: Other nouns that captions may use as well.
        attributes: Attributes by name, in the order in which they are drawn.
    """

    name: ClassVar[str]
    noun: ClassVar[str] = ""
    synonyms: ClassVar[tuple[str, ...]] = ()
    attributes: ClassVar[dict[str, Attribute]]

    @abstractmethod
    def build(self, p: Parameters, shape: Builder) -> None:
        """Add the parts of the shape that the parameters describe."""

    @abstractmethod
    def describe(self, p: Parameters, d: Description) -> None:
        """Say everything that can be said of it."""

    def shape(self, p: Parameters) -> Builder:
        """The shape of these parameters, ready to be sampled."""
        colors = {
            attribute.part: p.text(name)
            for name, attribute in self.attributes.items()
            if isinstance(attribute, Color) and name in p
        }
        shape = Builder(colors)
        self.build(p, shape)
        return shape

    def description(self, p: Parameters) -> Description:
        """Description of all that can be said of the shape of these parameters."""
        d = Description(self.noun or self.name, p, self.attributes, synonyms=self.synonyms)
        self.describe(p, d)
        return d


FAMILIES: dict[str, Family] = {}

F = TypeVar("F", bound=type[Family])


def family(cls: F) -> F:
    """Class decorator: make a family known by its name."""
    FAMILIES[cls.name] = cls()
    return cls


def families_named(names: Sequence[str] | str | None) -> list[Family]:
    """The families of these names (None or "all": every one), sorted by name.

    Args:
        names: Names of families, or one string with commas between them.

    Raises:
        DataError: An unknown name, or none at all.
    """
    known = sorted(FAMILIES)
    if names is None or names == "all":
        return [FAMILIES[name] for name in known]
    wanted = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    for name in wanted:
        if name not in FAMILIES:
            raise DataError(
                f"data.families: no family {name!r}{did_you_mean(name, known)} (known: {', '.join(known)})"
            )
    if not wanted:
        raise DataError("data.families is empty; name at least one family, or leave it out for all of them")
    return [FAMILIES[name] for name in sorted(set(wanted))]
