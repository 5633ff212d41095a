r"""Foreign text on the terminal: without control characters, and in characters that its encoding has.

Names and captions come from files of others. On a terminal, control characters could move the cursor or set
the clipboard, and marks of direction could let a name look like another: both are written out as in Python's
strings (``\x1b``, ``\u202e``). What an encoding such as ASCII lacks is replaced by plain characters, so that
no arrow ends a run that has finished.
"""

from __future__ import annotations

import codecs
import sys
import unicodedata
from typing import TextIO

_CONTROLS = [*range(9), *range(11, 32), *range(127, 160)]  # all but tab and line feed
_DIRECTIONS = [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_UNSEEN = [0x2028, 0x2029, 0xFEFF, *range(0xFFF9, 0xFFFC), *range(0xE0000, 0xE0080)]
_WRITTEN_OUT = {code: ascii(chr(code))[1:-1] for code in (*_CONTROLS, *_DIRECTIONS, *_UNSEEN)}
_ON_ONE_LINE = {**_WRITTEN_OUT, 9: " ", 10: " "}
_HANDLER = "align3d.plain"
_PLAIN = {
    **{"→": "->", "←": "<-", "↑": "^", "↓": "v", "−": "-", "–": "-", "—": "-", "…": "...", "×": "x"},
    **{
        "±": "+-",
        "≥": ">=",
        "≤": "<=",
        "≈": "~",
        "≠": "!=",
        "·": ".",
        "•": "*",
        "“": '"',
        "”": '"',
        "„": '"',
    },
    **{"‘": "'", "’": "'", "′": "'", "″": '"', "µ": "u", "μ": "u", "°": " deg", "ß": "ss", "√": "sqrt"},
    **{"│": "|", "─": "-", "├": "+", "└": "+", "┌": "+", "┐": "+", "┘": "+", "▀": "#", "█": "#", "▄": "#"},
}


def visible(text: str) -> str:
    r"""The text with controls, marks of direction and unseen characters written out; lines stay lines.

    >>> visible("a\x1b[31mb\u202e")
    'a\\x1b[31mb\\u202e'
    """
    return text if text.isascii() and text.isprintable() else text.translate(_WRITTEN_OUT)


def on_one_line(text: str) -> str:
    """`visible` text without line breaks, as a name in a line of its own must be."""
    return text if text.isascii() and text.isprintable() else text.translate(_ON_ONE_LINE)


def say(text: str, *, error: bool = False) -> None:
    """Print a text that may hold what others wrote, `visible`.

    Args:
        text: One or several lines.
        error: Whether it goes to stderr.
    """
    print(visible(text), file=sys.stderr if error else sys.stdout, flush=error)


def say_error(error: BaseException) -> None:
    """Print a fault of the user in one line on stderr."""
    say(f"error: {on_one_line(' '.join(str(error).split()))}", error=True)


def replace_what_is_lacking() -> None:
    """Let stdout and stderr replace characters that their encoding lacks, rather than raise.

    It does nothing to streams that somebody has put in their place and that cannot do so.
    """
    for stream in (sys.stdout, sys.stderr):
        _reconfigure(stream)


def encodable(text: str, encoding: str) -> str:
    """Text as it comes out in an encoding: with plain characters for those that it lacks."""
    return text.encode(encoding, errors=_HANDLER).decode(encoding)


def _reconfigure(stream: TextIO) -> None:
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None and getattr(stream, "errors", None) != _HANDLER:
        reconfigure(errors=_HANDLER)


def _replaced(error: UnicodeError) -> tuple[str, int]:
    """A handler of `codecs`: the plain form of what cannot be encoded, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_plain, error.object[error.start : error.end])), error.end


def _plain(character: str) -> str:
    """ASCII for a character: a stand-in, its letter without accents, its code, or a question mark."""
    if character in _PLAIN:
        return _PLAIN[character]
    if unicodedata.category(character) in (
        "Cs",
        "Cc",
        "Cf",
    ):  # half of a pair: a byte of a name that is not UTF-8
        return ascii(character)[1:-1]
    base = unicodedata.normalize("NFKD", character)
    letters = "".join(one for one in base if one.isascii())
    return letters or "?"


codecs.register_error(_HANDLER, _replaced)
