"""Checks of what a model answered: captions are taken out of it, and what is none is named."""

from __future__ import annotations

import re
from collections import Counter

import regex

from durable.plain_text import plain_text

WORDS_OF = {
    "en": "the a an of with and in on for to is are that from by at it its two three four",
    "de": "der die das ein eine einer eines mit und von im auf für ist sind den dem zwei drei",
    "fr": "le la les un une des avec et de du en sur pour est sont dans deux trois quatre",
    "es": "el la los las un una con y de del en sobre para es son que dos tres cuatro",
    "it": "il lo la gli un una con e di del della in su per è sono che due tre quattro",
    "pt": "o a os as um uma com e de do da em sobre para é são que dois três quatro",
    "nl": "de het een van met en in op voor is zijn die dat uit twee drie vier",
}
"""Function words by language: those of a text tell which it is in."""
_FUNCTION_WORDS = {name: frozenset(words.split()) for name, words in WORDS_OF.items()}
MOST_CHARACTERS = 10_000
"""Characters of an answer that are looked at, its thoughts aside."""
_END_OF_THOUGHTS = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_OPEN_THOUGHT = re.compile(r"</?think(?:ing)?>", re.IGNORECASE)
_BULLET = re.compile(
    r"^\s*(?:[-*•]\s+|\(?\d{1,2}[.):]\s+|[\"'“”‘’]*caption(?:\s*\d{1,2})?\s*:\s*)", re.IGNORECASE
)
_OPENING = re.compile(
    r"^(?:sure|certainly|of course|here(?:'s| is| are)|okay|ok)\b[^:]{0,80}:\s*"
    r"|^(?:sure|certainly|of course)[,!.]\s+",
    re.IGNORECASE,
)
_QUOTES = {'"': '"', "“": "”", "'": "'", "‘": "’", "«": "»", "*": "*", "`": "`"}
_REFUSAL = re.compile(
    r"\bI(?:'|’)?m (?:sorry|unable|afraid|not able)"
    r"|\bI (?:am (?:sorry|unable|afraid|not able)|apologi[sz]e)"
    r"|\bI (?:can(?:'|’)?t|cannot|can not|won(?:'|’)?t|do not|don(?:'|’)?t) "
    r"(?:see|help|assist|describe|provide|view|process|identify|determine|access|have|comply|fulfil)"
    r"|\bas an? (?:AI|artificial|(?:large )?language model)\b|^(?:sorry|unfortunately)\b"
    r"|\b(?:no|without (?:an?|any)) (?:images?|pictures?) "
    r"(?:was|were|is|are|has|have|provided|attached|given)"
    r"|\b(?:please|could you) (?:provide|upload|share|attach)\b|\bcontent polic(?:y|ies)\b",
    re.IGNORECASE,
)
_MARKUP = re.compile(
    r"</?[a-z][\w-]*(?:\s[^<>]*)?/?>|<[|!/]|\|>|\[/?(?:INST|SYS)\]|```|\{\{|\}\}|!\[|\]\(|https?://|www\."
    r"|^\s*[\[{].*[\]}]\s*$|\b(?:system|assistant|user)\s*:"
    r"|\b(?:ignore|disregard|forget)\b.{0,30}\b(?:instructions?|prompts?|above|previous)\b",
    re.IGNORECASE | re.DOTALL,
)
_LETTER = regex.compile(r"\p{L}")
_OF_LATIN = regex.compile(r"[\p{Script=Latin}]")
_WORD = regex.compile(r"[\p{L}\p{M}]+(?:['’][\p{L}]+)?")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def answered_captions(text: str, count: int) -> list[str]:
    """Captions in an answer, without bullets, quotes and what a model says around them.

    Args:
        text: The answer.
        count: How many were asked for: with more than one, each line is one.
    """
    text = without_thoughts(text)[:MOST_CHARACTERS].strip()
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > 1 and re.fullmatch(r"[^:]{1,100}:\s*", lines[0]):  # "Here are two captions:"
        lines = lines[1:]
    if count == 1:
        lines = [" ".join(lines)]
    return [found for line in lines if (found := _bare(line))][:count]


def without_thoughts(text: str) -> str:
    """An answer from where its thoughts (``<think>...</think>``) end."""
    ends = [match.end() for match in _END_OF_THOUGHTS.finditer(text)]
    return text[ends[-1] :] if ends else text


def _bare(line: str) -> str:
    """A line without its bullet, opening words and quotes, blanks joined."""
    previous = None
    while line != previous:
        previous = line
        line = _OPENING.sub("", _BULLET.sub("", line.strip())).strip()
        for first, last in _QUOTES.items():
            if len(line) > 2 and line.startswith(first) and line.endswith(last) and first not in line[1:-1]:
                line = line[1:-1]
        line = line.removeprefix("**").removesuffix("**")
    return " ".join(line.split())


def caption_fault(text: str, *, language: str | None, max_words: int) -> str:
    """Why a text is no caption; empty where it is one.

    Args:
        text: The text, see `answered_captions`.
        language: Language that it must be in; None: any.
        max_words: Largest number of words.
    """
    try:
        plain_text(text)
    except ValueError:
        return "no text: half of a surrogate pair"
    letters, words = _LETTER.findall(text), text.split()
    if not text.strip():
        return "empty"
    if _OPEN_THOUGHT.search(text):
        return "cut off: thoughts without an end"
    if _REFUSAL.search(text):
        return "a refusal"
    if _MARKUP.search(text):
        return "markup or orders, no caption"
    if "\N{REPLACEMENT CHARACTER}" in text or len(letters) < max(3, 0.4 * len(text.replace(" ", ""))):
        return "no text: too few letters"
    if len(words) > max_words:
        return f"too long: {len(words)} words, expected at most {max_words}"
    if max(map(len, words)) > 60:
        return "no text: a word of more than 60 characters"
    if len(words) >= 12 and len({word.casefold() for word in words}) < 0.35 * len(words):
        return "says the same again and again"
    return _language_fault(text, letters, language)


def _language_fault(text: str, letters: list[str], language: str | None) -> str:
    if language is None:
        return ""
    if len(_OF_LATIN.findall(text)) < 0.8 * len(letters):
        return f"another script than that of {language}"
    words = [word.casefold() for word in _WORD.findall(text)]
    votes = {name: sum(word in known for word in words) for name, known in _FUNCTION_WORDS.items()}
    best = max(votes, key=lambda name: votes[name])
    if votes[best] >= 2 and votes[best] >= 2 * votes[language] + 1:
        return f"another language: reads like {best}, expected {language}"
    return ""


def numbers_in(text: str) -> Counter[str]:
    """Numbers in a text as they are written, with a point for a decimal comma."""
    return Counter(number.replace(",", ".") for number in _NUMBER.findall(text))


def rewritten_fault(text: str, *originals: str, all_of_them: bool) -> str:
    """Why a text does not say what others say: it has other numbers. Empty where it has not.

    Args:
        text: What a model made of the others.
        originals: The others.
        all_of_them: Whether each number of theirs must come again.
    """
    found, given = numbers_in(text), sum((numbers_in(one) for one in originals), Counter[str]())
    if made_up := sorted(set(found) - set(given)):
        return f"a number that was not given: {made_up[0]}"
    if all_of_them and (lost := sorted(set(given) - set(found))):
        return f"a number is lost: {lost[0]}"
    return ""
