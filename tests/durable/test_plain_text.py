"""Characters of texts come into one normal form, and half a character is refused."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable.plain_text import plain_text


@given(st.text())
def test_one_form_in_which_nothing_invisible_is_left(text: str) -> None:
    plain = plain_text(text)
    assert plain_text(plain) == plain
    assert unicodedata.is_normalized("NFC", plain)
    assert not any(unicodedata.category(character) == "Cc" for character in plain)


def test_joiners_stay_and_marks_of_direction_go() -> None:
    assert plain_text("a\x00box\u200b of\ufeff \u202e3\u00ad mm") == "a box  of 3 mm"
    assert plain_text("क्\u200dष") == "क्\u200dष"


def test_half_of_a_surrogate_pair_is_one_line() -> None:
    with pytest.raises(
        ValueError, match=r"^text 'a .*ud83d chair': half of .* at character 2, expected"
    ) as error:
        plain_text("a \ud83d chair")
    assert "\n" not in str(error.value)
    assert str(error.value).isascii()
