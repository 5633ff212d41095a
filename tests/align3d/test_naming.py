"""Words of captions and the parts that they name."""

from __future__ import annotations

import doctest

import pytest

from align3d import naming
from align3d.naming import Mention, mentions, singular


def named(caption: str, *parts: str, kind: str = "") -> dict[str, list[str]]:
    words = caption.split()
    return {
        " ".join(words[place] for place in mention.words): [parts[place] for place in mention.parts]
        for mention in mentions(words, parts, kind)
    }


def test_examples_of_the_documentation() -> None:
    assert doctest.testmod(naming).failed == 0


@pytest.mark.parametrize("written", ["back rest", "backrest", "Back Rests", "BACKRESTS", "back rests"])
@pytest.mark.parametrize("part", ["back rest", "backrest", "Backrests", "back_rest", "back-rest"])
def test_one_name_in_many_spellings(written: str, part: str) -> None:
    assert named(f"a chair with a {written} and legs", "seat", part) == {written: [part]}


def test_plural_and_singular_meet() -> None:
    caption = "a gear with teeth , a cabinet with shelves on feet , boxes , glass and a lens"
    found = named(caption, "tooth", "shelf", "foot", "box", "glass", "lenses")
    assert found == {
        "teeth": ["tooth"],
        "shelves": ["shelf"],
        "feet": ["foot"],
        "boxes": ["box"],
        "glass": ["glass"],
        "lens": ["lenses"],
    }


@pytest.mark.parametrize(
    ("plural", "expected"),
    [("bases", "base"), ("noses", "nose"), ("washers", "washer"), ("batteries", "battery"), ("legs", "leg")]
    + [(word, word) for word in ("chassis", "brass", "status", "series", "as", "seat")],
)
def test_singular(plural: str, expected: str) -> None:
    assert singular(plural) == expected


def test_the_longest_name_wins_and_half_a_name_names_nothing() -> None:
    assert named("wheel hubs and wheels", "wheel", "wheel hub") == {
        "wheel hubs": ["wheel hub"],
        "wheels": ["wheel"],
    }
    assert named("the back of a chair", "back panel", "back post") == {}
    assert named("a clamp for a wire", "wire clamp") == {}


def test_a_word_inside_another_names_nothing() -> None:
    assert named("a caption of a spinning top", "cap", "pin") == {}


def test_what_the_whole_is_called_names_no_part() -> None:
    caption = "a pin header with black body and 8 pins"
    assert named(caption, "body", "pin", kind="pin header") == {"body": ["body"], "pins": ["pin"]}
    assert named(caption, "body", "pin", kind="Connector_PinHeader_2.54mm") == {
        "body": ["body"],
        "pins": ["pin"],
    }
    assert named(caption, "body", "pin", kind="connector")["pin"] == ["pin"]


def test_words_of_a_code_name_it() -> None:
    parts = ("IC-BODY-EPOXY-04", "PIN-01", "PIN-02", "LED-RED")
    assert named("a red LED , 2 pins , body size 3 mm", *parts) == {
        "red": ["LED-RED"],
        "LED": ["LED-RED"],
        "pins": ["PIN-01", "PIN-02"],
        "body": ["IC-BODY-EPOXY-04"],
    }
    assert named("an IC and an SMD resistor , THT", "IC-BODY-EPOXY-04", "RES-SMD-01", "RES-THT-01") == {}
    assert named("any material", "material-0", "material-none") == {}


def test_nothing_to_find() -> None:
    assert mentions([], ["pin"]) == []
    assert mentions(["pin"], []) == []
    assert mentions(["pin"], ["", "04"]) == []
    assert mentions(["04"], ["04"]) == []
    assert mentions(["pin"], ["pin"], "pin") == [], "the whole is a pin"
    assert mentions(["pin"], ["pin"]) == [Mention((0,), (0,))]


def test_names_of_any_script_are_found() -> None:
    assert mentions(["लाल", "कुर्सी"], ["मेज", "कुर्सी"]) == [Mention(words=(1,), parts=(1,))]
    assert mentions(["लाल", "कुर्सी"], ["कुर"]) == []
