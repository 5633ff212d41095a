"""Normal form of captions, and the cleaning of a part library's descriptions."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

import regex

from durable.plain_text import PLAIN

_LOOK_ALIKES = str.maketrans({"×": "x", "⁄": "/", "−": "-"})
# Digits of fractions and exponents, which the compatibility form would join to the digits before them.
_SMALL_DIGITS = re.compile(r"(?<=\d)(?=[²³¹¼-¾⁰⁴-⁻⅐-⅞])")
_INCH_MARK = regex.compile(r"(?<=\d)(?:[\"”]|''|′′)")
_FOOT_MARK = regex.compile(r"(?<=\d)['’′]")
# What tells numbers apart: a point, comma or slash between digits ("2.54", "2,5", "3/4"), a minus before a
# number that stands by itself ("-40"), a point that begins one (".5").
_OF_NUMBERS = r"(?<=\d)[.,/](?=\d)|(?<![^\s(])-(?=\.?\d)|(?<![\d.])\.(?=\d)"
# Everything but that, letters with their accents, digits and pictures.
_PUNCTUATION = regex.compile(rf"(?:(?!{_OF_NUMBERS}|[\p{{M}}\u200c\u200d\p{{Emoji_Presentation}}])[\W_])+")


def normalize_caption(text: str) -> str:
    """The form in which two captions are compared: shapes with equal forms are all right answers.

    Case, blanks and punctuation do not count; letters, digits, pictures and what tells numbers apart do:
    decimal points, fractions, a minus, marks of inches and feet.
    ``"Pin Header, 1x04 (2.54mm)"`` and ``"pin header 1×04 2.54mm"`` are equal.
    """
    if not text.isascii():
        text = _SMALL_DIGITS.sub(" ", text.translate(PLAIN))
        text = unicodedata.normalize("NFKC", text).translate(_LOOK_ALIKES)
    text = _FOOT_MARK.sub(" ft ", _INCH_MARK.sub(" in ", text))
    return unicodedata.normalize("NFC", _PUNCTUATION.sub(" ", text.casefold())).strip()


def unique_captions(captions: Iterable[str]) -> tuple[str, ...]:
    """Captions in their order, without those that are empty or repeat an earlier one's normal form."""
    seen: set[str] = {""}
    kept = []
    for caption in captions:
        form = normalize_caption(caption)
        if form not in seen:
            seen.add(form)
            kept.append(caption)
    return tuple(kept)


# A web address ends at a blank, and at a closing bracket that it did not open.
_URL = re.compile(r"(?:https?:/{1,2}|www\.)[^\s()\[\]]*(?:\([^\s()]*\)[^\s()\[\]]*)*", re.IGNORECASE)
_FILE = r"[^\s,;()]+\.(?:pdf|html?|php)\b"
_ESCAPED_BYTES = re.compile(r"(?:\\+x[0-9a-fA-F]{2})+")
_LONG_FRACTION = re.compile(r"\d+\.\d{5,}")
_INNER_BRACKETS = re.compile(r"\(([^()]*)\)|\[([^\[\]]*)\]")
# What stands in brackets and speaks of the source, not of the part.
_ABOUT_SOURCE = re.compile(
    r"^\s*$|^\W*(?:see|from|source|based on|taken from|body size (?:source|from)|package see|datasheet"
    r"|script generated|stepup generated|generated|manually modified|very dodgy|page|pages|p\.)\b"
    rf"|{_FILE}|^\W*(?:variation|var|variant)\.?\s\w+\W*$",
    re.IGNORECASE,
)
# Phrases about the footprint's making and its pads, in the order in which they are taken out.
_PHRASES = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\s*\|\|.*$",  # order numbers and ratings at the end of Phoenix Contact's descriptions
        r"[,;.]?\s*\(?(?:script[- ])?generated (?:with|by|using) .*$",
        r"[,;.]?\s*\bscript[- ]generated\b\)?",
        r",?\s*\bIPC[_-]\d+ (?:nominal|least|most)(?:,? with elongated pads? for hand-?soldering)?\.?",
        r",?\s*\bwith elongated pads? for hand-?soldering\.?",
        r",?\s*\blong ?pads\b",
        r"\bfootprint includes\b",
        rf"[,;.]?\s*\b(?:for (?:more )?(?:details|info\w*),? )?see(?: also)?:?\s[^,;()]*?{_FILE}",
        rf"[,;]?\s*\b{_FILE}",
        r"[,;]?\s*\bsee sections? [\d.]+(?: of\b)?",
        r"[,;.]?\s*\b(?:the )?datasheets? can be found\b(?: at| here| on)?",
        r"[,;.]\s*for (?:more )?information\b.*$",
        r"[,;]?\s*\bp\.\s?\d+\b",
        r"\b(?:dimensions|design rules):",
        r"[,;]\s*(?:keepout area marked|mask removed below exposed pad)\b",
    )
]
_MISSPELT = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\bthough-hole\b", "through-hole"),
        (r"\bdiamater\b", "diameter"),
        (r"\brefective\b", "reflective"),
        (r"\b([A-Za-z]{3,}) \1\b", r"\1"),  # "Molex Molex"
    )
]
_PINS = re.compile(r"\d+ pins")
_GENERIC = re.compile(r"^Generic (.*?) footprint for: ", re.IGNORECASE)
_DANGLING = re.compile(
    r"[\s,;:.]*\b(?:and see|see also|also see|see e\.?g\.?|see|e\.g\.|from|source|datasheets?|body size|"
    r"drawing|link|url|at|or|and)\s*:?\s*(?=[,;)\]]|$)",
    re.IGNORECASE,
)
_TIDY = [
    (re.compile(r"\(\s*[,;:]?\s*\)|\[\s*\]"), " "),
    (re.compile(r"\(\s+"), "("),
    (re.compile(r"[\s,;:]+\)"), ")"),
    (re.compile(r"\s+\.(?=\s|$)"), "."),
    (re.compile(r"\s+([,;:)])"), r"\1"),
    (re.compile(r"[,;](?:\s*[,;])+"), ","),
    (re.compile(r"(?<=[A-Za-z\d)]),(?=[A-Za-z])"), ", "),
    (re.compile(r"\s+"), " "),
]


def clean_description(text: str) -> str:
    """A part library's description, without what does not describe the part.

    Taken out: web addresses, references ("(see ...)", "datasheet"), notes about how the drawing was
    generated or how its pads are shaped, order numbers, escape sequences, empty brackets, doubled blanks and
    stray commas. Numbers, units and pin counts stay as they are ("1x04", "2.54mm", "4.0x3mm"), but for
    the noise of binary fractions ("3.0300000000000002mm" becomes "3.03mm").
    """
    text = _ESCAPED_BYTES.sub(_decode_bytes, text)
    text = text.replace('\\"', '"').replace("\\n", " ").replace("\\t", " ").replace("\\", "")
    text = _URL.sub(" ", unicodedata.normalize("NFC", text))
    text = _GENERIC.sub(r"\1 ", text)
    text = _drop_brackets(text)
    for pattern in _PHRASES:
        text = pattern.sub("", text)
    for pattern, replacement in _MISSPELT:
        text = pattern.sub(replacement, text)
    text = _LONG_FRACTION.sub(lambda match: f"{round(float(match[0]), 4):g}", text)
    text = text.replace("mm^2", "mm").replace("mm^3", "mm")
    text = re.sub(r"(?<=\d)\*(?=\d)", "x", text)
    previous = None
    while text != previous:  # one removal can lay bare the next
        previous = text
        text = _DANGLING.sub("", text)
        for pattern, replacement in _TIDY:
            text = pattern.sub(replacement, text)
        text = text.strip(" ,;:|-_./&")
    return _last_of_series(_close_brackets(text))


def _close_brackets(text: str) -> str:
    if text.count("(") > text.count(")"):
        return text + ")"
    if text.count(")") > text.count("(") and text.endswith(")"):
        return text[:-1].rstrip()
    return text


def _last_of_series(text: str) -> str:
    """Of "LED, <size 1>, 2 pins, <size 2>, 2 pins" keep "LED, <size 2>, 2 pins".

    The script that wrote KiCad's LED descriptions added each variant to those before it, so that the last
    one is the part's own.
    """
    chunks = text.split(", ")
    ends = [index for index, chunk in enumerate(chunks) if _PINS.fullmatch(chunk)]
    if len(ends) < 2 or ends[0] < 1 or ends[-1] - ends[-2] < 2:
        return text
    return ", ".join(chunks[: ends[0] - 1] + chunks[ends[-2] + 1 : ends[-1] + 1])


def _drop_brackets(text: str) -> str:
    """Take out bracketed remarks about sources, the innermost first."""
    previous = None
    while text != previous:
        previous = text
        text = _INNER_BRACKETS.sub(
            lambda match: " " if _ABOUT_SOURCE.search(match[1] or match[2] or "") else match[0], text
        )
    return text


def _decode_bytes(match: re.Match[str]) -> str:
    """Bytes that a text writes out as backslash-x codes, as the characters they were."""
    data = bytes(int(pair, 16) for pair in re.findall(r"x([0-9a-fA-F]{2})", match[0]))
    return data.decode("utf-8", errors="replace").replace("\N{MINUS SIGN}", "-")
