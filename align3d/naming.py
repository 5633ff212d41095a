"""Naming of the parts of a shape in a caption, by the words alone: nothing is learned.

A part is named where its name's words stand side by side in the caption, in singular or plural and joined or
apart ("back rest", "backrests"), and are not part of what the whole is called ("pin" in "pin header"). A code
such as KiCad's materials ("IC-BODY-EPOXY-04") is nobody's phrase: there each of its words names it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import regex

_WORD = regex.compile(r"\p{L}[\p{L}\p{M}\u200c\u200d]*")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_PLURALS = {
    "feet": "foot",
    "teeth": "tooth",
    "shelves": "shelf",
    "leaves": "leaf",
    "halves": "half",
    "knives": "knife",
    "chassis": "chassis",
    "lens": "lens",
    "lenses": "lens",
    "series": "series",
}
#: In KiCad's codes: kinds of package and of mounting, which say nothing of the part that has the material.
_NO_PART = frozenset({"ic", "smd", "tht", "material", "none"})


@dataclass(frozen=True)
class Mention:
    """A place of a caption that names a part.

    Attributes:
        words: Places of the words that name it, ascending and side by side.
        parts: Places of all the part names that these words fit, ascending: a shape may have several labels
            for what one word means (KiCad's PIN-01 and PIN-02).
    """

    words: tuple[int, ...]
    parts: tuple[int, ...]


def mentions(words: Sequence[str], part_names: Sequence[str], category: str = "") -> list[Mention]:
    """Finds the parts that a caption names.

    Args:
        words: The caption's words and numbers in their order.
        part_names: Names of the shape's parts.
        category: What the shape as a whole is called; words of its name are not about a part.

    Returns:
        In the order of the words. No word is used twice: "wheel hubs" names the wheel hubs, not the wheels.

    Example:
        >>> mentions("a chair with two red arm rests".split(), ["seat", "armrest"])
        [Mention(words=(5, 6), parts=(1,))]
        >>> mentions("a 1 x 04 pin header with four steel pins".split(), ["body", "pin"], "pin header")
        [Mention(words=(9,), parts=(1,))]
    """
    forms: dict[str, list[int]] = {}
    for place, name in enumerate(part_names):
        for form in _forms(name):
            forms.setdefault(form, []).append(place)
    longest = max(map(len, forms), default=0)
    plain = [_plain(word) for word in words]
    whole = _of_whole(plain, category)
    found: list[Mention] = []
    start = 0
    while start < len(plain):
        stop, parts = _longest_match(plain, start, forms, longest)
        if parts and not whole.intersection(range(start, stop)):
            found.append(Mention(tuple(range(start, stop)), tuple(parts)))
            start = stop
        else:
            start += 1
    return found


def singular(word: str) -> str:
    """The singular of an English noun in lower case, as far as a few rules carry.

    >>> [singular(word) for word in ("pins", "teeth", "boxes", "batteries", "bases", "glass")]
    ['pin', 'tooth', 'box', 'battery', 'base', 'glass']
    """
    if word in _PLURALS:
        return _PLURALS[word]
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes", "zes")):
        return word[:-2]
    if len(word) > 2 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _forms(name: str) -> set[str]:
    """Forms of a part's name in captions, blanks left out: the whole name, or each word of a code."""
    words = [_plain(word) for word in _split(name)]
    if not words:
        return set()
    if name.isupper():
        return {singular(word) for word in words if word not in _NO_PART}
    return {_joined(words)} - _NO_PART


def _longest_match(
    words: Sequence[str], start: int, forms: dict[str, list[int]], longest: int
) -> tuple[int, list[int]]:
    """The end of the longest run of words from ``start`` that is a form, and the parts it fits."""
    best: tuple[int, list[int]] = (start, [])
    length = 0
    for stop in range(start + 1, len(words) + 1):
        length += len(words[stop - 1])
        if length > longest + 3:  # no plural is longer than its singular by more
            break
        parts = forms.get(_joined(words[start:stop]))
        if parts:
            best = (stop, parts)
    return best


def _of_whole(words: Sequence[str], category: str) -> set[int]:
    """Places of the words that call the whole by the name of its kind, or by two or more words of it."""
    kind = [singular(_plain(word)) for word in _split(category)]
    own = [singular(word) for word in words]
    places: set[int] = set()
    if not kind:
        return places
    runs = {tuple(kind[i:j]) for i in range(len(kind)) for j in range(i + 2, len(kind) + 1)} | {tuple(kind)}
    for length, group in groupby(sorted(runs, key=len), key=len):
        wanted = set(group)
        for start in range(len(own) - length + 1):
            if tuple(own[start : start + length]) in wanted:
                places.update(range(start, start + length))
    return places


def _split(name: str) -> list[str]:
    """The words of a name: "PinHeader_2.54mm" -> Pin, Header, mm."""
    return _WORD.findall(_CAMEL.sub(" ", name))


def _plain(word: str) -> str:
    return unicodedata.normalize("NFKC", word).casefold()


def _joined(words: Sequence[str]) -> str:
    """The words as one, the last in singular."""
    return "".join([*words[:-1], singular(words[-1])])
