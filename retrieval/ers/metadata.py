"""Columns of metadata beside the vectors, and the rows that a filter lets through.

A column holds text (kept as one code per row and each distinct text once), whole numbers or real numbers. A
filter names a condition a column: a value, a collection of values of which one must fit, or `Between`; all
conditions must hold.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from durable.errors import DamagedFileError
from retrieval.ers.hierarchy import Ints
from retrieval.storage import StoredArrays
from retrieval.validation import NUMBERS

Value = str | int | float
Metadata = Mapping[str, Sequence[Any] | NDArray[Any]]
_ENDLESS = (-math.inf, math.inf)
_LEAST, _MOST = -(2**63), 2**63 - 1  # of int64


@dataclass(frozen=True)
class Between:
    """A range of numbers, both ends within.

    Raises:
        ValueError: If an end is no number or NaN, or they are the wrong way round.
    """

    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        if not (isinstance(self.low, NUMBERS) and isinstance(self.high, NUMBERS)):
            raise ValueError(f"Between({self.low!r}, {self.high!r}): expected two numbers")
        if not self.low <= self.high:
            raise ValueError(f"Between({self.low}, {self.high}): expected low <= high")


Where = Mapping[str, Value | Between | Collection[Value]]


Conditions = dict[str, Between | tuple[Value, ...]]


def conditions(where: Where) -> Conditions:
    """A filter in one form: a range, or the values of which one must fit.

    Raises:
        ValueError: If it is no mapping, or a condition is of another kind.
    """
    if not isinstance(where, Mapping):
        raise ValueError(f"where={where!r}: expected a condition for each column, such as {{'size': 3}}")
    found: Conditions = {}
    for name, condition in where.items():
        if isinstance(condition, Between):
            found[name] = condition
            continue
        alone = isinstance(condition, str) or not isinstance(condition, Iterable)
        values: tuple[Any, ...] = (condition,) if alone else tuple(condition)  # type: ignore[arg-type]
        for value in values:
            if not isinstance(value, (str, *NUMBERS)):
                raise ValueError(
                    f"filter on {name!r} by {value!r}: expected text or a number, several of them or Between"
                )
        found[name] = values
    return found


class Columns:
    """Metadata of every row.

    Attributes:
        values: Per column ``[n]``: int32 codes of text, int64 or float64 numbers.
        texts: Per column of text, its distinct texts in the order of their codes.
    """

    def __init__(self, values: dict[str, NDArray[Any]], texts: dict[str, list[str]]) -> None:
        self.values = values
        self.texts = texts
        self._codes = {name: {text: code for code, text in enumerate(known)} for name, known in texts.items()}

    @classmethod
    def build(cls, metadata: Metadata | None, count: int) -> Columns:
        """Columns of the types that the values have.

        Raises:
            ValueError: If a column is not ``count`` texts or ``count`` numbers.
        """
        blank: dict[str, NDArray[Any]] = {}
        columns = cls(blank, {})
        for name, given in _by_column(metadata).items():
            values = _column(name, given, count)
            if values.dtype.kind == "O":
                columns.texts[name], columns._codes[name] = [], {}
                columns.values[name] = columns._encode(name, values)
            else:
                columns.values[name] = values
        return columns

    def check(self, metadata: Metadata | None, count: int, *, partial: bool) -> dict[str, NDArray[Any]]:
        """Values for ``count`` rows of these columns, changing nothing yet.

        Args:
            metadata: A sequence of values a column.
            count: Rows.
            partial: Whether columns may be left out.

        Returns:
            Per given column ``[count]``: numbers, or texts as objects.

        Raises:
            ValueError: If a column is unknown, left out, or its values are of another type or number.
        """
        checked = {}
        for name, given in _by_column(metadata).items():
            kept = self._named(name)
            values = _column(name, given, count)
            if not count:
                continue
            if (values.dtype.kind == "O") != (name in self.texts):
                kind = "text" if name in self.texts else "numbers"
                raise ValueError(f"metadata {name!r} is not {kind}, which the index holds in that column")
            if values.dtype.kind == "f" and kept.dtype.kind == "i":
                raise ValueError(f"metadata {name!r} has real numbers: the index holds whole ones there")
            checked[name] = values
        missing = [name for name in self.values if name not in checked]
        if missing and not partial and count:
            raise ValueError(f"metadata {missing[0]!r} is missing: the index has {', '.join(self.values)}")
        return checked

    def write(self, rows: Ints, checked: dict[str, NDArray[Any]]) -> None:
        """Puts values that `check` returned into rows; rows past the end lengthen every column."""
        length = int(rows.max(initial=-1)) + 1
        new = {
            name: self._encode(name, values) if values.dtype.kind == "O" else values
            for name, values in checked.items()
        }
        kept = {
            name: np.concatenate([values, np.zeros(max(0, length - len(values)), values.dtype)])
            if length > len(values)
            else values
            for name, values in self.values.items()
        }
        self.values.update(kept)
        for name, values in new.items():
            self.values[name][rows] = values

    def cut(self, length: int) -> None:
        """Takes away what stands behind the first ``length`` rows."""
        for name, kept in self.values.items():
            self.values[name] = kept[:length]

    def read(self, rows: Ints) -> dict[str, NDArray[Any]]:
        """The values of some rows ``[n]``: per column ``[n]`` numbers, or texts as objects."""
        read = {name: kept[rows] for name, kept in self.values.items()}
        for name, known in self.texts.items():
            read[name] = np.array(known, object)[read[name]]
        return read

    def copy(self, source: Ints, target: Ints) -> None:
        """Gives the rows ``target`` the values of the rows ``source``."""
        self.write(target, {})
        for kept in self.values.values():
            kept[target] = kept[source]

    def matching(self, where: Where) -> NDArray[np.bool_]:
        """``[n]``: the rows, dead ones too, for which every condition holds.

        Raises:
            ValueError: If a column is unknown, or a condition does not fit its type.
        """
        masks = [self._fits(name, condition) for name, condition in conditions(where).items()]
        return np.logical_and.reduce(masks)

    def _fits(self, name: str, condition: Between | tuple[Value, ...]) -> NDArray[np.bool_]:
        kept = self._named(name)
        if isinstance(condition, Between):
            if name in self.texts:
                raise ValueError(f"filter on {name!r}: a column of text has no range; name the texts")
            low, high = _python(condition.low), _python(condition.high)
            if kept.dtype.kind == "i":  # whole ends, for NumPy would compare with others as float64
                low = low if low in _ENDLESS else math.ceil(low)
                high = high if high in _ENDLESS else math.floor(high)
            return (kept >= low) & (kept <= high)
        for value in condition:
            if isinstance(value, str) != (name in self.texts):
                kind = "text" if name in self.texts else "numbers"
                raise ValueError(f"filter on {name!r} by {value!r}: the column holds {kind}")
        if name not in self.texts:
            return np.isin(kept, _storable(condition, kept.dtype))
        fitting = np.zeros(len(self.texts[name]), bool)
        fitting[[self._codes[name][text] for text in condition if text in self._codes[name]]] = True
        return fitting[kept]

    def _named(self, name: str) -> NDArray[Any]:
        if name not in self.values:
            has = ", ".join(self.values) or "none; give metadata to build"
            raise ValueError(f"metadata field {name!r} is unknown: the index has {has}")
        return self.values[name]

    def _encode(self, name: str, texts: NDArray[Any]) -> NDArray[np.int32]:
        known, codes = self.texts[name], self._codes[name]
        for text in dict.fromkeys(texts.tolist()):
            if text not in codes:
                codes[text] = len(known)
                known.append(text)
        return np.fromiter((codes[text] for text in texts.tolist()), np.int32, len(texts))

    def resident_bytes(self) -> int:
        """Of the columns; a distinct text counts 150 bytes and its length (Python's objects around it)."""
        texts = sum(150 + len(text) for known in self.texts.values() for text in known)
        return texts + sum(kept.nbytes for kept in self.values.values())

    def arrays(self, rows: Ints) -> dict[str, NDArray[Any]]:
        """These columns at some rows, as arrays that `from_arrays` reads."""
        kept = {f"column.{name}": np.ascontiguousarray(values[rows]) for name, values in self.values.items()}
        texts = json.dumps({"names": list(self.values), "texts": self.texts}).encode()
        return kept | {"columns": np.frombuffer(texts, np.uint8)}

    @classmethod
    def from_arrays(cls, arrays: StoredArrays, count: int) -> Columns:
        """Reads what `arrays` wrote for ``count`` rows.

        Raises:
            DamagedFileError: If a column is missing, of another kind or length, or has codes without a text.
        """
        try:
            known = json.loads(arrays.take("columns", np.uint8, (None,)).tobytes())
            names, texts = list(known["names"]), dict(known["texts"])
            fits = set(texts) <= set(names) and all(
                isinstance(some, list) and set(map(type, some)) <= {str} and len(set(some)) == len(some)
                for some in texts.values()
            )
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise DamagedFileError(f"{arrays.path} is damaged: columns are no metadata ({error})") from error
        arrays.expect(fits, "columns do not describe metadata")
        values = {}
        for name in names:
            if name in texts:
                last = len(texts[name]) - 1
                values[name] = arrays.take(f"column.{name}", np.int32, (count,), 0, last)
            else:
                kind = getattr(arrays.arrays.get(f"column.{name}"), "dtype", None)
                number = np.float64 if kind == np.float64 else np.int64
                values[name] = arrays.take(f"column.{name}", number, (count,))
        return cls(values, texts)


def _python(number: float | np.generic) -> Any:
    """A number as Python's own, which compares exactly with all others."""
    return number.item() if isinstance(number, np.generic) else number


def _storable(numbers: Collection[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Those that a column of int64 or float64 can hold without rounding: it can equal no others."""
    exact = [_python(number) for number in numbers]
    if dtype.kind == "i":
        fitting = [number for number in exact if _LEAST <= number <= _MOST]
        return np.array([int(number) for number in fitting if number == int(number)], np.int64)
    fitting = [number for number in exact if isinstance(number, float) or abs(number) <= sys.float_info.max]
    return np.array([number for number in fitting if float(number) == number], np.float64)


def _by_column(metadata: Metadata | None) -> Metadata:
    if metadata is not None and not isinstance(metadata, Mapping):
        raise ValueError(
            f"metadata of type {type(metadata).__name__}: expected the values of each column by name"
        )
    return metadata or {}


def _column(name: str, given: Sequence[Any] | NDArray[Any], count: int) -> NDArray[Any]:
    """Values as ``[count]`` int64, float64, or text as objects."""
    values = given.tolist() if isinstance(given, np.ndarray) else given
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ValueError(f"metadata {name!r} is {given!r} alone: expected {count} values")
    items = list(values)
    if len(items) != count:
        raise ValueError(f"metadata {name!r} has {len(items)} values: expected {count}, one a vector")
    kinds = {type(item) for item in items}
    if all(issubclass(kind, str) for kind in kinds) and kinds:
        texts = np.empty(count, object)
        texts[:] = items
        return texts
    if not all(issubclass(kind, NUMBERS) for kind in kinds):
        named = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise ValueError(f"metadata {name!r} has values of {named}: expected all text or all numbers")
    numbers = [_python(item) for item in items]
    if any(issubclass(kind, float | np.floating) for kind in kinds):
        return np.array(numbers, np.float64)
    try:
        return np.array(numbers, np.int64)
    except OverflowError as error:
        beyond = next(number for number in numbers if not _LEAST <= number <= _MOST)
        raise ValueError(
            f"metadata {name!r} has {beyond}: expected whole numbers of 64 bits, {_LEAST} to {_MOST}; "
            "give them as text"
        ) from error
