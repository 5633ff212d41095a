"""Texts become words of any script, and whole numbers."""

import unicodedata

import pytest

from durable.plain_text import plain_text
from models.words import tokenize


def words(text: str) -> list[str]:
    return [word for word, _, _ in tokenize(plain_text(text))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a 1x13 header, 2.54mm pitch (SOT-23)", "a|1|x|13|header|2.54|mm|pitch|SOT|23"),
        (unicodedata.normalize("NFD", "grüne Stühle"), "grüne|Stühle"),
        ("लाल कुर्सी", "लाल|कुर्सी"),
        ("รถสีแดง", "รถสีแดง"),
        ("红色的木椅子", "红色的木椅子"),
        ("אָדֹם כיסא", "אָדֹם|כיסא"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # a joiner that is part of the word
        ("🪑 red", "🪑|red"),
        ("👩🏽\u200d🔧🇩🇪", "👩🏽\u200d🔧|🇩🇪"),
        ("a® b™", "a|b"),
        ("a\u00adb \u202ea\u202c\ufeff c\u200bd", "ab|a|c|d"),
        ("a\x00b\tc", "a|b|c"),
        ("H₂O", "H₂O"),
        ("１２ｍｍ", "１２|ｍｍ"),
        ('24" of "iron"', '24|"|of|iron'),
        ("it's 10-20 mm", "it|s|10|-|20|mm"),
        ("10-20 pins", "10|20|pins"),
        ("1,000 or 1 1/2 or twenty-one", "1,000|or|1 1/2|or|twenty-one"),
        ("???", ""),
    ],
)
def test_tokens(text: str, expected: str) -> None:
    assert "|".join(words(text)) == expected


def test_places_are_those_in_the_text() -> None:
    text = 'a -40 °C chair, 1½" wide'
    assert all(text[start:end] == word for word, start, end in tokenize(text))
