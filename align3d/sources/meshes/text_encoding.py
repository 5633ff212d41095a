"""Encodings of text files that hold shapes: numbers are ASCII, names may be in any."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from unicodedata import normalize

from align3d.errors import RejectedItem

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_HIGH = re.compile(rb"[\x80-\xff]+")


def text_bytes(data: bytes) -> bytes:
    """A text's bytes without byte order mark, in an encoding of which ASCII is a part, lines ended by LF.

    Raises:
        RejectedItem: A mark of UTF-16, and bytes that are not.
    """
    if data.startswith(_UTF_16):
        try:
            data = data.decode("utf-16").encode("utf-8")
        except UnicodeDecodeError as error:
            raise RejectedItem("a text that begins as UTF-16 and is not: damaged or truncated?") from error
    data = data.removeprefix(codecs.BOM_UTF8)
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return data


def decode_names(names: Sequence[bytes]) -> list[str]:
    """Decode the names of one file, all in the same encoding and in Unicode's composed form (NFC).

    That is UTF-8 where all of them are valid, else one by the shape of their words: GBK (Simplified Chinese),
    Windows-1251 (Cyrillic) or Windows-1252 (Western European). Detectors of charsets need sentences.
    """
    encoding = _encoding(b"\n".join(names))
    return [normalize("NFC", name.decode(encoding, errors="replace")) for name in names]


def _encoding(text: bytes) -> str:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        pass
    else:
        return "utf-8"
    words = [word for word in text.split() if not word.isascii()]
    runs = [run for word in words for run in _HIGH.findall(word)]
    pairs = [run[k : k + 2] for run in runs for k in range(0, len(run), 2)]
    # The common characters of GB 2312 begin with B0 to D7, accented small letters of both code pages with E0.
    common = sum(len(pair) == 2 and 0xB0 <= pair[0] <= 0xD7 and pair[1] >= 0xA1 for pair in pairs)
    if all(len(run) % 2 == 0 for run in runs) and 2 * common > len(pairs):
        return "gbk"
    # A Cyrillic word has no ASCII letters; a Western one has more of them than others.
    letters = sum(sum(byte < 0x80 for byte in word if chr(byte).isalpha()) for word in words)
    return "cp1251" if letters < sum(map(len, runs)) else "cp1252"
