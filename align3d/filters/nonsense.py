"""Signs by which a text is no description of a shape, whatever its length: rules, nothing is learned."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

import regex

_WEB = re.compile(r"(?:https?:/{1,2}|www\.)\S|\b[\w.+-]+@[\w-]+\.\w{2,}", re.IGNORECASE)
_MARKUP = re.compile(
    r"</?[a-z][a-z0-9]*(?:\s[^<>]*)?/?>|&(?:[a-z]{2,8}|#\d{1,5});|```|\]\(|\*\*\S|^#{1,6}\s|"
    r"\{\{?\s*[a-z_]+\s*\}?\}|\[(?:object|image|img|b|i|url|insert)\b[^\]]*\]",
    re.IGNORECASE,
)
_FILE = re.compile(
    r"^\S*\.(?:glb|gltf|obj|fbx|stl|ply|step|stp|wrl|blend|3ds|dae|max|off|jpe?g|png|zip|pdf)$", re.IGNORECASE
)
# What language models and people say about the task in place of the shape.
_PROMPT = re.compile(
    r"\bas an? (?:ai|large language|language)\b|\blanguage model\b|\bi(?:'m| am) (?:sorry|unable|not able)\b|"
    r"\bi (?:can(?:no|')t|could not|couldn't|apologi[sz]e)\b|\b(?:sure|certainly|of course)[,!]|"
    r"\bhere(?:'s| is| are) (?:a|an|the|your|some)\b.*\b(?:captions?|descriptions?|summar(?:y|ies))\b|"
    r"^(?:please )?(?:write|generate|provide|describe|rewrite|summari[sz]e)\b.*"
    r"\b(?:captions?|descriptions?|image|model|object|sentences?|following)\b|"
    r"\b(?:please provide|provided (?:image|text|caption)|let me know if|hope this helps|more information)\b",
    re.IGNORECASE,
)
_EMPTY_WORDS = re.compile(
    r"(?:n/?a|nan|null|none|nil|undefined|unknown|untitled|unnamed|no (?:name|title|caption|description)"
    r"(?: (?:available|provided|given|yet))?|tbd|todo|test(?:ing)?|asset|default|placeholder|description|"
    r"caption|lorem ipsum.*|new (?:model|project|object|file)|my (?:model|project))[\s\d.!_-]*",
    re.IGNORECASE,
)
_BROKEN = re.compile(r"�|Ã[\u0080-\u00bf]|â€|Â[\u00a0-\u00bf]|\?{3,}")
# Capitals and x stand for what varies in order numbers: CT05-XXXX, ITXxxxxSA.
_SAME = regex.compile(r"((?!x)\p{Ll})\1{3,}|(\p{Lu})\2{6,}|([^\w\s])\3{5,}")
_KEYS = re.compile(r"\b\w*(?:qwert|asdf|zxcv|sdfg|hjkl|yuiop|dfgh)\w*\b", re.IGNORECASE)
_NO_VOWEL = re.compile(r"\b[a-z]*[bcdfghjklmnpqrstvwxz]{7,}[a-z]*\b")
_LETTERS = regex.compile(r"\p{L}[\p{L}\p{M}'’]*")
_UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")
_WORD = regex.compile(rf"{_UNSPACED.pattern}|(?:(?!{_UNSPACED.pattern})[\p{{L}}\p{{N}}])\S*")
_FEW_WORDS = 8
"""Words from which on a text that says the same again and again is told by its share of different ones."""


def words_of(text: str) -> list[str]:
    """Words and numbers between blanks; in scripts that write none, each character counts as one."""
    return _WORD.findall(text)


def nonsense(text: str) -> str:
    """Why a text is no description; empty where no rule says so.

    >>> nonsense("As an AI language model, I cannot see the object.")
    'speaks of the task'
    >>> nonsense("SOT-23, 3 Pin, 0.95mm pitch")
    ''
    """
    if _WEB.search(text):
        return "web address"
    if _MARKUP.search(text):
        return "markup or placeholder"
    if _BROKEN.search(text):
        return "broken encoding"
    if _PROMPT.search(text):
        return "speaks of the task"
    if _FILE.match(text.strip()):
        return "file name"
    if _EMPTY_WORDS.fullmatch(text.strip()):
        return "stands for no text"
    if _SAME.search(text) or _says_again(text):
        return "says the same again and again"
    if _KEYS.search(text) or _NO_VOWEL.search(text):
        return "no word of any language"
    if not _has_word(text):
        return "only numbers and codes"
    return ""


def _has_word(text: str) -> bool:
    """Whether anything between blanks is a word: letters without digits, not all that small."""
    if _UNSPACED.search(text):
        return True
    for token in unicodedata.normalize("NFC", text).replace("/", " ").split():
        letters = _LETTERS.fullmatch(token.strip("()[]{}.,;:!?\"'“”-"))
        if letters and len(letters[0]) > 2:
            return True
        if "_" not in token and not any(map(str.isdigit, token)) and len(_LETTERS.findall(token)) > 1:
            return True  # "T-shaped"
    return False


def _says_again(text: str) -> bool:
    """Whether a word stands three times in a row, or most words repeat others."""
    words = [word.casefold().strip(".,;:!?") for word in words_of(text)]
    said = [word for word in words if word and not any(map(str.isdigit, word)) and not _UNSPACED.match(word)]
    if any(a == b == c for a, b, c in zip(words, words[1:], words[2:], strict=False) if a in set(said)):
        return True
    counts = Counter(word for word in said if len(word) > 2)
    total = sum(counts.values())
    return total >= _FEW_WORDS and len(counts) < 0.4 * total
