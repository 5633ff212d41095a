"""Tables that people bring, CSV, JSONL or Parquet: every row with its place, every fault in one line."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from align3d.errors import DataError, closest

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
DELIMITERS = ",;\t|"
_BOMS = {  # that of UTF-32 begins with that of UTF-16
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
MOST_NAMES = 20
"""Columns that are named in a message, and looked at for slips."""
_LINE_BREAK = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True)
class Columns:
    """Columns that a table is to have. Letter case and blanks around a name do not count.

    Attributes:
        required: Names that may not be missing.
        optional: Names that may be missing.
        repeated: Name that several columns may have, also numbered as ``caption_2`` or ``caption.1``.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    repeated: str = ""

    @property
    def known(self) -> tuple[str, ...]:
        """All names."""
        return (*self.required, *self.optional)

    def named(self, names: Sequence[str], label: str) -> list[str]:
        """The normal form of a table's column names, in their order.

        Raises:
            DataError: A required column is missing, two have one name, or a name looks like a slip.
        """
        found = [" ".join(name.split()).strip("\ufeff").casefold() for name in names]
        if self.repeated:
            numbered = re.compile(rf"{re.escape(self.repeated)}[ _.-]?\d+")
            found = [self.repeated if numbered.fullmatch(name) else name for name in found]
        others = [name for name in found if name and name not in self.known]
        slips = [(name, closest(name, self.known)) for name in others[:MOST_NAMES] if len(name) < 80]
        hint = "".join(
            f"; did you mean {near} by {name}?"
            for name, near in slips
            if near is not None and near not in found
        )
        missing = [name for name in self.required if name not in found]
        if missing or hint:
            what = f"has no column {' and '.join(missing)}" if missing else "has a column of unknown name"
            optional = f"[, {', '.join(self.optional)}]" if self.optional else ""
            raise DataError(
                f"{label} {what}; expected {', '.join(self.required)}{optional}, found {_some(names)}{hint}"
            )
        for name in self.known:
            if name != self.repeated and found.count(name) > 1:
                raise DataError(f"{label} has {found.count(name)} columns {name}; expected one")
        return found


def _some(names: Sequence[str]) -> str:
    """Names of columns for a message, the first of them where there are many."""
    shown = ", ".join(name[:80] for name in names[:MOST_NAMES]) or "nothing"
    return shown if len(names) <= MOST_NAMES else f"{shown} and {len(names) - MOST_NAMES:,} more"


@dataclass
class Row:
    """One row of a table.

    Attributes:
        where: Its place, as in "line 3".
        cells: Texts by the normal name of their column; several where columns share a name.
        problem: What is wrong with it, empty where nothing is.
    """

    where: str
    cells: dict[str, list[str]]
    problem: str = ""

    def text(self, name: str) -> str:
        """The first cell of a column, empty where there is none."""
        return next(iter(self.cells.get(name, ())), "")


def read_rows(path: Path, columns: Columns, label: str) -> Iterator[Row]:
    """Rows of a table, those aside that hold nothing.

    Texts are in UTF-8 or have a byte order mark. The delimiter of a CSV file is a comma, a semicolon, a tab
    or ``|``, whichever gives the required columns.

    Args:
        path: File whose name ends in one of ``SUFFIXES``.
        columns: Columns to be read; others are left alone.
        label: Beginning of all messages, such as ``"captions=my.csv"``.

    Raises:
        DataError: No such file, another format, a missing column, or something that cannot be parsed.
    """
    reader = {".jsonl": _jsonl_rows, ".parquet": _parquet_rows}.get(path.suffix.lower(), _csv_rows)
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{label}: expected a name ending in {', '.join(SUFFIXES)}")
    try:
        for where, pairs, problem in reader(path, columns, label):
            row = _row(where, pairs, columns)
            row.problem = row.problem or problem
            if row.problem or any(text for cells in row.cells.values() for text in cells):
                yield row
    except (OSError, pa.ArrowException, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise DataError(f"{label}: cannot be read ({reason})") from error
    except MemoryError as error:
        raise DataError(f"{label}: too large for the memory of this machine; part it") from error


def decode(data: bytes, label: str) -> str:
    """Text of a file: in the encoding of its byte order mark, else in UTF-8.

    Raises:
        DataError: Naming the line and the byte that are not.
    """
    bom = next((bom for bom in _BOMS if data.startswith(bom)), b"")
    encoding = _BOMS.get(bom, "utf-8")
    data = data[len(bom) :]
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        before = data[: error.start].decode(encoding)
        line = before.count("\n") + 1
        place = len(before.rpartition("\n")[2].encode(encoding)) + 1
        raise DataError(
            f"{label}, line {line}: byte {data[error.start]:#04x}, number {place} of the line, is not "
            f"{encoding.upper()}; save the file as UTF-8 (in a spreadsheet: CSV UTF-8)"
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(
            f"{label}, line {line}: a NUL character; UTF-16 without a byte order mark, or damaged? "
            "save the file as UTF-8"
        )
    return text


def csv_records(text: str, delimiter: str, label: str) -> Iterator[tuple[int, list[str]]]:
    """Records of a CSV text (RFC 4180) with the line where each begins, blank lines aside.

    As the standard library's reader with ``skipinitialspace`` has them; that one does not say where a quote
    was opened, and takes what follows a closed quote.

    Raises:
        DataError: A quote that does not end, or that ends before its cell does.
    """
    mark = re.escape(delimiter)
    cell = re.compile(rf' *+(?:"((?:[^"]++|"")*+)" *+|(?!")([^{mark}\r\n]*+))({mark}|\r\n|\n|\r|\Z)')
    at, line, begun = 0, 1, 1
    cells: list[str] = []
    while at < len(text) or cells:
        match = cell.match(text, at)
        if match is None:
            raise DataError(_quote_fault(text, at, line, label))
        quoted, plain, end = match.groups()
        cells.append(plain if quoted is None else quoted.replace('""', '"'))
        at = match.end()
        if quoted is not None:
            line += len(_LINE_BREAK.findall(quoted))
        if end == delimiter:
            continue
        if any(cells):
            yield begun, cells
        line += 1
        cells, begun = [], line


def _quote_fault(text: str, at: int, line: int, label: str) -> str:
    """Message on the quote with which a cell opens, at a place in the text."""
    rest = re.compile(r' *+"(?:[^"]++|"")*+').match(text, at)
    assert rest is not None
    opened = (
        f"{label}, line {line}: a quote opens before {_LINE_BREAK.split(text[at:].lstrip(' ')[1:])[0][:40]!r}"
    )
    advice = 'close it, and write "" for a quote in a quoted text'
    if rest.end() == len(text):
        return f"{opened} and is never closed; {advice}"
    closed = line + len(_LINE_BREAK.findall(rest[0]))
    behind = _LINE_BREAK.split(text[rest.end() + 1 :], maxsplit=1)[0].strip()[:40]
    return f"{opened}, and behind its end on line {closed} comes {behind!r}; {advice}"


Pairs = Iterator[tuple[str, list[tuple[str, Any]], str]]
"""Place, names with values, and problem of each row."""


def _row(where: str, pairs: list[tuple[str, Any]], columns: Columns) -> Row:
    """A row with the texts of the columns that are known."""
    row = Row(where, {})
    for name, value in pairs:
        if name in columns.known:
            text, problem = _text(value)
            row.cells.setdefault(name, []).append(text)
            if problem and not row.problem:
                row.problem = f"{problem.format(name=name)} ({where})"
    return row


def _text(value: Any) -> tuple[str, str]:
    """A cell as text, empty where there is none (NaN in some tables), and what is wrong with it."""
    if value is None or (isinstance(value, float) and value != value):
        return "", ""
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            return "", "bytes as {name} that are not UTF-8"
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        more = ", and a row for each {name}" if type(value) is list else ""
        kind = "dict" if isinstance(value, _Object) else type(value).__name__
        return "", f"a {kind} as {{name}}: expected a text{more}"
    odd = next((char for char in value if char == "\0" or "\ud800" <= char <= "\udfff"), None)
    if odd is not None:
        return "", f"character U+{ord(odd):04X} in {{name}}, which is no text"
    return value.strip("\ufeff"), ""


def _csv_rows(path: Path, columns: Columns, label: str) -> Pairs:
    text = decode(path.read_bytes(), label)
    if not text.strip():
        raise DataError(f"{label} is empty")
    records = csv_records(text, _delimiter(text, columns, label), label)
    names = columns.named(next(records)[1], label)
    for line, cells in records:
        where, problem = f"line {line}", ""
        if any(cells[len(names) :]):
            problem = f"more values than columns: put quotes around a caption that has commas ({where})"
        missing = [name for name in columns.required if name not in names[: len(cells)]]
        if missing and not problem and any(cell.strip() for cell in cells):
            problem = f"{len(cells)} of {len(names)} values, none for {' and '.join(missing)} ({where})"
        yield where, list(zip(names, cells, strict=False)), problem


def _delimiter(text: str, columns: Columns, label: str) -> str:
    """The delimiter that gives the required columns, else the one that gives the most."""
    found: dict[str, int] = {}
    fault: DataError | None = None
    for delimiter in DELIMITERS:
        try:
            _, names = next(csv_records(text, delimiter, label), (1, []))
        except DataError as error:
            fault = fault or error
            continue
        found[delimiter] = len(names)
        if {name.strip().casefold() for name in names} >= {*columns.required}:
            return delimiter
    if not any(found.values()):
        raise fault or DataError(f"{label} is empty")
    return max(found, key=lambda delimiter: found[delimiter])


class _Object(list[tuple[str, Any]]):
    """Names and values of a JSON object, repeated names included."""


def _jsonl_rows(path: Path, columns: Columns, label: str) -> Pairs:
    text = decode(path.read_bytes(), label)
    if not text.strip("\ufeff \t\r\n"):
        raise DataError(f"{label} is empty")
    seen: dict[tuple[str, ...], list[str]] = {}
    for number, line in enumerate(_LINE_BREAK.split(text), 1):
        if not (line := line.strip("\ufeff \t")):
            continue
        try:
            row = json.loads(line, object_pairs_hook=_Object)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{label}, line {number}: not JSON ({error.msg}, at character {error.colno}); "
                "expected an object on each line"
            ) from error
        except (ValueError, RecursionError) as error:
            raise DataError(f"{label}, line {number}: not JSON that can be read ({error})") from error
        if not isinstance(row, _Object):
            raise DataError(f"{label}, line {number}: expected an object, found {line[:40]!r}")
        given = tuple(name for name, _ in row)
        if given not in seen:
            seen[given] = columns.named(given, f"{label}, line {number}")
        yield f"line {number}", list(zip(seen[given], (value for _, value in row), strict=True)), ""


def _parquet_rows(path: Path, columns: Columns, label: str) -> Pairs:
    with pq.ParquetFile(path) as file:
        given = list(file.schema_arrow.names)
        names = columns.named(given, label)
        wanted = [index for index, name in enumerate(names) if name in columns.known]
        number = 0
        for batch in file.iter_batches(columns=list(dict.fromkeys(given[index] for index in wanted))):
            read = columns.named(batch.schema.names, label)
            for row in zip(*(_values(column) for column in batch.columns), strict=True):
                number += 1
                yield f"row {number}", list(zip(read, row, strict=True)), ""


def _values(column: pa.Array) -> list[Any]:
    """The values of a column; as bytes where they claim to be UTF-8 and are not."""
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        return [None if value.as_buffer() is None else value.as_buffer().to_pybytes() for value in column]
