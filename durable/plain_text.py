"""Plain text: characters as they are stored and compared, in one normal form and with nothing invisible."""

from __future__ import annotations

import re
import unicodedata

_TO_BLANK = dict.fromkeys([*range(32), *range(127, 160), 0x200B, 0x2028, 0x2029], " ")
_DROPPED = [0xAD, 0x61C, 0x180E, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF]
PLAIN = {**_TO_BLANK, **dict.fromkeys(_DROPPED)}
"""Table for ``str.translate``. To blanks: controls, and the zero width space, which parts words.
Dropped: soft hyphens, marks of direction, byte order marks. Kept: the joiners U+200C and U+200D, which many
scripts and emoji need."""
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def plain_text(text: str) -> str:
    """Text in Unicode's normal form C without control characters, in which nothing invisible is left.

    Raises:
        ValueError: The text holds half of a surrogate pair, which stands for no character.
    """
    if text.isascii() and text.isprintable():
        return text
    if (found := _SURROGATE.search(text)) is not None:
        raise ValueError(
            f"text {text[:40]!a}: half of a surrogate pair ({ascii(found[0])[1:-1]}) at character "
            f"{found.start()}, expected Unicode; decode the text anew from its source"
        )
    return unicodedata.normalize("NFC", text.translate(PLAIN))
