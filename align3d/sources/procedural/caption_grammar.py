"""Grammar of captions: what can truly be said of a shape, and patterns that say some of it.

A family writes a ``Description``: adjectives of the whole, measures, parts with their own adjectives and
counts, what is missing, and how parts lie to each other. Each word carries the attribute that makes it true;
a caption is a pattern and a set of attributes to name, so the same description gives short and long
sentences, and never one that is untrue.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from align3d.sources.procedural.attributes import (
    Attribute,
    Length,
    Parameters,
    article,
    count_word,
    length_text,
    pick,
    plural,
)

Named = frozenset[str]
Pair = tuple[str, str]


@dataclass(frozen=True)
class Thing:
    """A part as a noun phrase.

    Attributes:
        noun: Noun in the singular.
        words: (attribute, adjective) in the order in which English puts them.
        count: Number of such parts.
        count_by: The attribute that sets the count, or None where it is always the same.
        after: (attribute, phrase) that follow the noun, such as "on the left".
        exists_by: The attribute because of which the part is there at all, or None.
    """

    noun: str
    words: tuple[Pair, ...] = ()
    count: int = 1
    count_by: str | None = None
    after: tuple[Pair, ...] = ()
    exists_by: str | None = None

    @property
    def attributes(self) -> Named:
        """All attributes that this phrase can name."""
        by = [name for name in (self.count_by, self.exists_by) if name is not None]
        return frozenset([*by, *(name for name, _ in (*self.words, *self.after))])

    def say(self, named: Named, *, bare: bool = False) -> str:
        """The noun phrase with the adjectives of the named attributes; ``bare`` leaves the article out."""
        words = [text for name, text in self.words if name in named]
        after = [text for name, text in self.after if name in named]
        counted = self.count_by in named
        body = " ".join([*words, self.noun if self.count == 1 else plural(self.noun), *after])
        if self.count == 1:
            return f"one {body}" if counted else body if bare else article(body)
        return f"{count_word(self.count)} {body}" if counted else body


@dataclass(frozen=True)
class Measure:
    """A length of the whole: "45 cm tall", and where it is at an end of its range, "low" or "tall"."""

    attribute: str
    text: str
    adjective: str
    word: str

    @property
    def phrase(self) -> str:
        """The length with its adjective: "45 cm tall"."""
        return f"{self.text} {self.adjective}"


@dataclass
class Description:
    """Everything that can be said of one shape.

    Args:
        noun: Noun phrase for the shape.
        parameters: The shape's parameters.
        attributes: Its family's attributes.
        synonyms: Other nouns for the part.

    Example:
        >>> from align3d.sources.procedural.attributes import Choice, Count
        >>> p = Parameters("stool", {"seat": "round", "legs": 3})
        >>> d = Description("stool", p, {"seat": Choice(("round", "square")), "legs": Count((3, 4))})
        >>> d.adjective("seat")
        >>> _ = d.part("leg", count="legs")
        >>> with_phrase(d, frozenset({"seat", "legs"}), number=False)
        'a round stool with three legs'
    """

    noun: str
    parameters: Parameters
    attributes: dict[str, Attribute]
    words: list[Pair] = field(default_factory=list)
    measures: list[Measure] = field(default_factory=list)
    things: list[Thing] = field(default_factory=list)
    missing: list[Pair] = field(default_factory=list)
    relations: list[tuple[Thing, str, Thing]] = field(default_factory=list)
    synonyms: tuple[str, ...] = ()

    def adjective(self, attribute: str, text: str | None = None) -> None:
        """Say an adjective of the whole; without a text it is the attribute's own value."""
        self.words.append((attribute, text or self.parameters.text(attribute)))

    def measure(self, attribute: str, adjective: str, small: str, large: str) -> None:
        """Say a length of the whole, and its words for the ends of its range."""
        length = self.attributes[attribute]
        if not isinstance(length, Length):
            raise TypeError(f"{attribute!r} of {self.noun} is no Length")
        value = self.parameters.count(attribute)
        text = length_text(value, length.unit)
        self.measures.append(Measure(attribute, text, adjective, length.word(value, small, large)))

    def part(
        self,
        noun: str,
        *words: str | Pair,
        count: str | int | tuple[str, int] = 1,
        after: Sequence[Pair] = (),
        exists_by: str | None = None,
    ) -> Thing:
        """Say a part.

        Args:
            noun: Noun in the singular.
            *words: Attributes whose value is the adjective, or (attribute, adjective).
            count: The attribute that is the count, or (attribute, count), or a number that is always so.
            after: (attribute, phrase) pairs behind the noun.
            exists_by: The attribute because of which the part is there.
        """
        pairs = tuple((word, self.parameters.text(word)) if isinstance(word, str) else word for word in words)
        if isinstance(count, str):
            count = (count, self.parameters.count(count))
        by, number = count if isinstance(count, tuple) else (None, count)
        thing = Thing(noun, pairs, number, by, tuple(after), exists_by)
        self.things.append(thing)
        return thing

    def without(self, attribute: str, noun: str) -> None:
        """Say that something is missing: ``noun`` with its article or in the plural, as after "without"."""
        self.missing.append((attribute, noun))

    def relation(self, upper: Thing, preposition: str, lower: Thing) -> None:
        """Say how two parts lie: "a blue top above three legs"."""
        self.relations.append((upper, preposition, lower))

    def renamed(self, rng: np.random.Generator) -> Description:
        """The same under a noun chosen at random from its own and the synonyms."""
        nouns = (self.noun, *self.synonyms)
        return replace(self, noun=nouns[pick(rng, len(nouns))])

    @property
    def sayable(self) -> list[str]:
        """All attributes that can be named, in the order of the family's attributes."""
        found = {name for name, _ in (*self.words, *self.missing)} | {
            measure.attribute for measure in self.measures
        }
        found = found.union(*(thing.attributes for thing in self.things))
        return [name for name in self.attributes if name in found]


def join(phrases: Sequence[str]) -> str:
    """A list in words: ["a", "b", "c"] -> "a, b and c"."""
    if len(phrases) < 2:
        return "".join(phrases)
    return ", ".join(phrases[:-1]) + " and " + phrases[-1]


def _whole(d: Description, named: Named, *, number: bool) -> tuple[str, list[str]]:
    """The noun with its adjectives, without article; and the measures still to be named."""
    words = [text for name, text in d.words if name in named]
    named_measures = [measure for measure in d.measures if measure.attribute in named]
    sizes = [] if number else [measure.word for measure in named_measures if measure.word]
    rest = [measure.phrase for measure in named_measures if number or not measure.word]
    return " ".join([*sizes, *words, d.noun]), rest


def _parts(d: Description, named: Named) -> list[str]:
    """Noun phrases of the parts that a named attribute is about."""
    return [thing.say(named) for thing in d.things if thing.attributes & named]


def _missing(d: Description, named: Named) -> list[str]:
    return [noun for name, noun in d.missing if name in named]


def _with(d: Description, named: Named) -> str:
    """Phrase after the noun: with its parts and without what is missing, or nothing."""
    parts, gone = _parts(d, named), _missing(d, named)
    text = f" with {join(parts)}" if parts else ""
    if gone:
        text += (" but no " if parts else " without ") + " or ".join(gone if not parts else map(_bare, gone))
    return text


def _bare(noun: str) -> str:
    return noun.removeprefix("a ").removeprefix("an ")


def with_phrase(d: Description, named: Named, *, number: bool) -> str:
    """The plain pattern: "a round table with three splayed legs and a blue top, 45 cm tall"."""
    head, sizes = _whole(d, named, number=number)
    text = article(head) + _with(d, named)
    if not sizes:
        return text
    return f"{text}, {join(sizes)}"


def measured_first(d: Description, named: Named, *, number: bool) -> str:
    """The size in front: "a 45 cm tall round table with three splayed legs and a blue top"."""
    head, sizes = _whole(d, named, number=number)
    front = next((size for size in sizes if not size.endswith("in diameter")), "")
    rest = [size for size in sizes if size != front]
    return article(f"{front} {head}".strip()) + _with(d, named) + (f", {join(rest)}" if rest else "")


def related(d: Description, named: Named, *, number: bool) -> str:
    """Two parts and how they lie: "a tall table that has a blue top on three splayed legs"."""
    found = [(a, how, b) for a, how, b in d.relations if (a.attributes & named) and (b.attributes & named)]
    if not found:
        return measured_first(d, named, number=number)
    a, how, b = found[0]
    others = [thing.say(named) for thing in d.things if thing not in (a, b) and thing.attributes & named]
    head, sizes = _whole(d, named, number=number)
    text = f"{article(head)} that has {a.say(named)} {how} {b.say(named)}"
    if others:
        text += f", and also {join(others)}"
    if gone := _missing(d, named):
        text += ", but no " + " or ".join(map(_bare, gone))
    return text + (f"; it is {join(sizes)}" if sizes else "")


def catalogue(d: Description, named: Named, *, number: bool) -> str:
    """The style of a parts catalogue: "round table, three splayed legs, blue top, 45 cm tall"."""
    head, sizes = _whole(d, named, number=number)
    parts = [thing.say(named, bare=True) for thing in d.things if thing.attributes & named]
    gone = ["no " + _bare(noun) for noun in _missing(d, named)]
    return ", ".join([head, *parts, *gone, *sizes])


def sentences(d: Description, named: Named, *, number: bool) -> str:
    """Full sentences: "This is a round table. It has three splayed legs. It is 45 cm tall."."""
    head, sizes = _whole(d, named, number=number)
    text = f"This is {article(head)}."
    if parts := _parts(d, named):
        text += f" It has {join(parts)}."
    if gone := _missing(d, named):
        text += f" It has no {' or '.join(map(_bare, gone))}."
    return text + (f" It is {join(sizes)}." if sizes else "")


def parts_first(d: Description, named: Named, *, number: bool) -> str:
    """The parts in front: "three legs and a blue top belong to this table, which is 45 cm tall"."""
    head, sizes = _whole(d, named, number=number)
    parts = _parts(d, named)
    if len(parts) < 2:
        return with_phrase(d, named, number=number)
    text = f"{join(parts)} belong to this {head}"
    if gone := _missing(d, named):
        text += f", which has no {' or '.join(map(_bare, gone))}"
    if sizes:
        text += f"{' and' if gone else ', which'} is {join(sizes)}"
    return text


def relation_first(d: Description, named: Named, *, number: bool) -> str:
    """Two related parts, then the whole: "a blue top on three splayed legs: a round table, 45 cm tall"."""
    found = [(a, how, b) for a, how, b in d.relations if (a.attributes & named) and (b.attributes & named)]
    if not found:
        return parts_first(d, named, number=number)
    a, how, b = found[-1]
    others = named - a.attributes - b.attributes
    return f"{a.say(named)} {how} {b.say(named)}: {with_phrase(d, others, number=number)}"


Pattern = Callable[..., str]
QUERY_PATTERNS: tuple[Pattern, ...] = (with_phrase, measured_first, related, catalogue)
PATTERNS: tuple[Pattern, ...] = (with_phrase, measured_first, related, catalogue, parts_first, relation_first)


def choose(names: Sequence[str], count: int, rng: np.random.Generator, keep: Sequence[str] = ()) -> Named:
    """Choose ``count`` names at random, those in ``keep`` among them."""
    rest = [name for name in names if name not in keep]
    chosen = list(keep)
    while rest and len(chosen) < count:
        chosen.append(rest.pop(pick(rng, len(rest))))
    return frozenset(chosen)


def query_caption(d: Description, rng: np.random.Generator, *, focus: str | None, attributes: int = 5) -> str:
    """The caption that should find the shape: several attributes, with sizes in numbers.

    Args:
        d: Description of the shape.
        rng: Near-twins get generators of equal state, so that their captions differ in nothing but the focus.
        focus: An attribute that must be named, or None.
        attributes: Number of attributes that are named.
    """
    names = d.sayable
    pattern = QUERY_PATTERNS[pick(rng, len(QUERY_PATTERNS))]
    named = choose(names, attributes, rng, (focus,) if focus else ())
    return pattern(d.renamed(rng), named, number=True)


def captions(
    d: Description, query_rng: np.random.Generator, rng: np.random.Generator, *, focus: str | None
) -> tuple[str, ...]:
    """Four to six different captions: the query first, then short, middle and long ones.

    Args:
        d: Description of the shape.
        query_rng: Generator for the first caption, of equal state for near-twins.
        rng: Generator for the other captions.
        focus: What the first caption must name, or None.
    """
    names = d.sayable
    texts = [query_caption(d, query_rng, focus=focus)]
    plans: list[tuple[Pattern, int, bool]] = [
        (with_phrase, 1 + pick(rng, 2), False),
        (PATTERNS[pick(rng, len(PATTERNS))], 3, rng.random() < 0.5),
        ((with_phrase, sentences)[pick(rng, 2)], len(names), True),
        (PATTERNS[pick(rng, len(PATTERNS))], 4, True),
        (sentences, max(len(names) - 2, 3), rng.random() < 0.5),
    ]
    dropped = pick(rng, len(plans) + 2)  # the short and the long one always stay
    for at, (pattern, count, number) in enumerate(plans):
        if at == dropped and at not in (0, 2):
            continue
        texts.append(pattern(d.renamed(rng), choose(names, count, rng), number=number))
    return tuple(dict.fromkeys(texts))
