"""Encodings of text files that hold shapes: numbers are ASCII, names may be in any."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from unicodedata import normalize

from align3d.errors import RejectedItem

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_HIGH = re.compile(rb"[\x80-\xff]+")
_LEAST_SHARE = 0.5  # of common characters among those that are not ASCII
_KANA = "".join(map(chr, range(0x3041, 0x30FD)))
_COMMON: dict[str, tuple[list[tuple[bytes, bytes]], str]] = {
    "gbk": (
        [(b"\xb0\xa1", b"\xd7\xff")],
        "子面背腿脚轮左右前后上下门把手扶椅桌座灯板架底盖身头口杆螺丝轴车体柜屉窗外内侧玻璃金属木布白黑红色材质的部件"
        "管边角框脚垫主一二三四大小中",
    ),
    "big5": (
        [(b"\xa4\x40", b"\xc6\xff")],
        "子面背腿腳輪左右前後上下門把手扶椅桌座燈板架底蓋身頭口桿螺絲軸車體櫃屜窗外內側玻璃金屬木布白黑紅色材質的部件"
        "管邊角框墊主一二三四大小中",
    ),
    "cp932": (
        [
            *[(b"\x81\x5b", b"\x81\x5b"), (b"\x82\x9f", b"\x82\xf1"), (b"\x83\x40", b"\x83\x96")],
            *[(b"\x88\x9f", b"\x88\xfc"), (b"\x89\x40", b"\x98\x72")],
        ],
        _KANA + "子面背脚輪左右前後上下扉車本体部板棚天底蓋取手引出椅机白黒赤色材質台金属木布柱枠",
    ),
    "cp949": (
        [(b"\xb0\xa1", b"\xc8\xfe")],
        "이다의는에을를가은고하지사기로인도한리자어시나대정아서라해일부스수구상판등받침좌석우앞뒤위바퀴손잡문몸체전후면측유"
        "프레임팔걸램",
    ),
}
"""East Asian encodings: first and last codes of common characters, and what stands in many names of parts.

Common are level 1 of GB 2312, the frequent plane of Big5, kana and level 1 of JIS X 0208, and the syllables
of KS X 1001."""


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

    That is UTF-8 where all of them are valid, else the code page of East Asia in which most of their
    characters are common ones: GBK (simplified Chinese), Big5 (traditional Chinese), Shift-JIS or the Korean
    one; else by the shape of their words Windows-1251 (Cyrillic) or Windows-1252 (Western European).
    Detectors of charsets need sentences.
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
    fits = {encoding: fit for encoding in _COMMON if (fit := _fit(text, encoding))}
    if fits:
        return max(fits, key=lambda encoding: fits[encoding])  # the first of equals
    words = [word for word in text.split() if not word.isascii()]
    high = sum(map(len, _HIGH.findall(text)))
    # A Cyrillic word has no ASCII letters; a Western one has more of them than others.
    letters = sum(sum(byte < 0x80 for byte in word if chr(byte).isalpha()) for word in words)
    return "cp1251" if letters < high else "cp1252"


def _fit(text: bytes, encoding: str) -> float:
    """How well a text fits an East Asian encoding: 0 where it does not, else up to 2.

    That is the share of common characters, and that of those which stand in many names: the bytes of Korean
    are those of common Chinese characters too.
    """
    try:
        decoded = text.decode(encoding)
    except UnicodeDecodeError:
        return 0.0
    characters = [one for one in decoded if not one.isascii()]
    codes = [one.encode(encoding) for one in characters]
    letters = sum(
        one.isascii() and one.isalpha() for word in decoded.split() if not word.isascii() for one in word
    )
    # In Western words a letter with an accent stands before an ASCII one.
    if letters > 2 * len(codes) or not any(code[-1] >= 0x80 or code[0] < 0xA0 for code in codes):
        return 0.0
    ranges, often = _COMMON[encoding]
    common = sum(
        any(low <= code <= high and code[-1] >= low[-1] for low, high in ranges) for code in codes
    ) / len(codes)
    if common <= _LEAST_SHARE:
        return 0.0
    return common + sum(one in often for one in characters) / len(codes)
