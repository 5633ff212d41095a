"""Numbers of a text file's lines, converted many lines at once."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from align3d.errors import RejectedItem
from align3d.sources.meshes.scene import Bytes, Floats, Ints

_NEWLINE, _BLANK = 10, 32
_PADDING = 16  # newlines after the text, so that the first word of every line can be looked at


@dataclass(frozen=True)
class NumberRows:
    """Numbers of some lines, a row each.

    Attributes:
        values: f64[N], the numbers of all rows.
        counts: i64[R], how many of them each row has.
    """

    values: Floats
    counts: Ints

    @property
    def starts(self) -> Ints:
        """Where the numbers of each row begin: i64[R]."""
        return np.cumsum(self.counts) - self.counts

    def columns(self, first: int, last: int) -> Floats:
        """Columns ``first`` to ``last`` - 1 of all rows, f64[R, last - first]; each row must have them."""
        if len(self.counts) and (self.counts == self.counts[0]).all():
            return self.values.reshape(len(self.counts), -1)[:, first:last]
        return self.values[self.starts[:, None] + np.arange(first, last)]


class TextLines:
    """Lines of a text.

    Args:
        text: Text with lines ended by LF; blanks before the first word of a line do not count.

    Attributes:
        data: u8[N], the text and some newlines after it.
        starts: i64[L], where the lines begin.
        ends: i64[L], where they end.
    """

    def __init__(self, text: bytes) -> None:
        self.data: Bytes = np.frombuffer(text + b"\n" * _PADDING, dtype=np.uint8)
        self.ends: Ints = np.flatnonzero(self.data == _NEWLINE)[: -_PADDING + 1]
        self.starts: Ints = np.concatenate([[0], self.ends[:-1] + 1])
        led = np.flatnonzero(_is_blank(self.data[self.starts]))
        if len(led):
            inked = np.flatnonzero(~_is_blank(self.data))
            self.starts[led] = inked[np.searchsorted(inked, self.starts[led])]

    def __len__(self) -> int:
        return len(self.starts)

    def begin_with(self, word: bytes) -> NDArray[np.bool_]:
        """Lines whose first word is this one, bool[L]."""
        found = np.ones(len(self.starts), dtype=bool)
        for offset, byte in enumerate(word):
            found &= self.data[self.starts + offset] == byte
        return found & (self.data[self.starts + len(word)] <= _BLANK)

    def line(self, number: int) -> bytes:
        """The text of one line."""
        return self.data[self.starts[number] : self.ends[number]].tobytes()

    def join(self, lines: NDArray[np.bool_], skip: int = 0) -> Bytes:
        """Text of some lines without their first ``skip`` bytes, each ended by LF, as u8."""
        starts, ends = self.starts[lines] + skip, self.ends[lines] + 1
        if not len(starts):
            return np.empty(0, dtype=np.uint8)
        return self.data[_between(starts, ends, len(self.data))]

    def numbers(self, lines: NDArray[np.bool_], skip: int = 0) -> NumberRows:
        """Numbers of some lines after their first ``skip`` bytes.

        Raises:
            RejectedItem: Something in them is not a number.
        """
        return parse_rows(self.join(lines, skip))


def parse_rows(text: Bytes) -> NumberRows:
    """Numbers of a text whose lines are all ended by LF.

    Args:
        text: u8[N], numbers with blanks between them; what follows a # is passed over.

    Raises:
        RejectedItem: Something in it is not a number.
    """
    text = without_comments(text)
    counts = words_per_line(text)
    values = parse_numbers(text)
    if len(values) != counts.sum():
        raise RejectedItem("numbers that run into each other: damaged file?")
    return NumberRows(values, counts)


def parse_numbers(text: Bytes | bytes) -> Floats:
    """Numbers with blanks between them, f64[N].

    Raises:
        RejectedItem: Something in them is not a number.
    """
    return _parse(text if isinstance(text, bytes) else text.tobytes(), float)


def parse_integers(text: bytes) -> Ints:
    """Whole numbers with blanks between them, i64[N].

    Raises:
        RejectedItem: Something in them is not a whole number.
    """
    return _parse(text, int)


def _parse(words: bytes, kind: type[float]) -> NDArray[Any]:
    if not words or words.isspace():  # of which numpy would make a number
        return np.empty(0, dtype=np.float64 if kind is float else np.int64)
    try:
        with warnings.catch_warnings():  # numpy before 2.4 warns where later ones raise
            warnings.simplefilter("error", DeprecationWarning)
            return np.fromstring(words, dtype=np.float64 if kind is float else np.int64, sep=" ")
    except (ValueError, DeprecationWarning) as error:
        what = "a number" if kind is float else "a whole number"
        raise RejectedItem(f"expected {what}, found {_first_bad(words, kind)}: damaged file?") from error


def words_per_line(text: Bytes) -> Ints:
    """Number of words of each line, i64[R]; all lines are ended by LF."""
    blank = text <= _BLANK
    begins = ~blank
    begins[1:] &= blank[:-1]
    return np.diff(np.searchsorted(np.flatnonzero(begins), np.flatnonzero(text == _NEWLINE)), prepend=0)


def without_comments(text: Bytes) -> Bytes:
    """The text with blanks for what stands between a # and the end of its line."""
    marks = np.flatnonzero(text == ord("#"))
    if not len(marks):
        return text
    line_ends = np.flatnonzero(text == _NEWLINE)
    ends = line_ends[np.searchsorted(line_ends, marks)]
    first = np.concatenate([[True], ends[1:] != ends[:-1]])
    return np.where(_between(marks[first], ends[first], len(text)), _BLANK, text).astype(np.uint8)


def _between(starts: Ints, ends: Ints, length: int) -> NDArray[np.bool_]:
    """Which of ``length`` bytes lie in one of the ranges, which are sorted and do not overlap."""
    edges = np.stack([starts, ends], axis=1).reshape(-1)
    return np.repeat(np.arange(len(edges) + 1) % 2 == 1, np.diff(edges, prepend=0, append=length))


def _is_blank(data: Bytes) -> NDArray[np.bool_]:
    return (data == _BLANK) | (data == ord("\t"))


def _first_bad(words: bytes, kind: type[float]) -> str:
    for word in words.split():
        try:
            kind(word)
        except ValueError:
            return repr(word[:20].decode("ascii", errors="replace"))
    return "something else"
