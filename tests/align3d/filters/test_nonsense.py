"""Captions that are no description, and technical ones that look odd and are."""

import pytest

from align3d.filters import make_filter
from align3d.filters.caption_length import Length
from align3d.filters.nonsense import nonsense, words_of


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        ("see https://example.org/model/7 for the part", "web address"),
        ("contact me at someone@example.org", "web address"),
        ("a <b>red</b> chair", "markup or placeholder"),
        ("red chair &amp; table", "markup or placeholder"),
        ("a {color} chair with {count} legs", "markup or placeholder"),
        ("As an AI language model, I cannot see images.", "speaks of the task"),
        ("Sure! Here is a caption: a red chair.", "speaks of the task"),
        ("I'm sorry, but I can't help with that", "speaks of the task"),
        ("Describe the object in the image in one sentence", "speaks of the task"),
        ("final_v2_LOW.fbx", "file name"),
        ("untitled", "stands for no text"),
        ("N/A", "stands for no text"),
        ("No description available", "stands for no text"),
        ("chaaaaaair", "says the same again and again"),
        ("chair chair chair chair", "says the same again and again"),
        ("a red chair, a red chair, a red chair, a red chair, red chair", "says the same again and again"),
        ("asdfgh chair", "no word of any language"),
        ("74HC595D", "only numbers and codes"),
        ("12345 678", "only numbers and codes"),
        ("PinHeader_1x04_P2.54mm", "only numbers and codes"),
        ("Ã¼berlanger Stuhl", "broken encoding"),
    ],
)
def test_no_description(text: str, sign: str) -> None:
    assert nonsense(text) == sign


@pytest.mark.parametrize(
    "text",
    [
        "SOT-23, 3 Pin, 0.95mm pitch",
        "0603 LED",
        "T-shaped bracket",
        "a chair",
        "椅子",
        "Through hole straight pin header, 1x04, 2.54mm pitch, single row",
        "a table with a round top, four round legs and a round base under the round shelf",
        "I-beam of steel, 120 x 64 mm",
        "a watchstrap with a latchstring",
        "a description plate of brass",
        "stool, 3 legs; seat: oak; legs: beech",
        "IC/socket adapter",
        "reed switch CT05-XXXX-G1",
        "DC/DC converter ITXxxxxSA",
    ],
)
def test_a_description(text: str) -> None:
    assert nonsense(text) == ""
    assert Length().reason(text) == ""


def test_words_are_counted_between_blanks_and_by_character_in_chinese() -> None:
    assert words_of("SOT-23, 3 Pin, 0.95mm pitch") == ["SOT-23,", "3", "Pin,", "0.95mm", "pitch"]
    assert words_of("红色的椅子") == list("红色的椅子")
    assert words_of(" - , ") == []


@pytest.mark.parametrize(
    ("settings", "text", "reason"),
    [
        ({"min_words": 2}, "chair", "length: 1 word, expected 2 to 120"),
        ({"max_words": 3}, "a very red chair", "length: 4 words, expected 1 to 3"),
        ({"min_chars": 6}, "chair", "length: 5 characters, expected 6 to 1000"),
        ({"max_chars": 4}, "chair", "length: 5 characters, expected 2 to 4"),
        ({}, "!!", "length: 0 words, expected 1 to 120"),
        ({"nonsense": False}, "74HC595D", ""),
        ({}, "74HC595D", "nonsense: only numbers and codes"),
    ],
)
def test_length(settings: dict[str, int], text: str, reason: str) -> None:
    made = make_filter("length", **settings)
    assert isinstance(made, Length)
    assert made.reason(text) == reason
