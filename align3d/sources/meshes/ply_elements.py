"""Elements and properties of a PLY file, ASCII or binary, as arrays.

Format: Greg Turk, "The PLY Polygon File Format" (1994), with the type names of fixed size that came later.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from align3d.errors import RejectedItem
from align3d.sources.meshes.number_lines import parse_numbers
from align3d.sources.meshes.scene import Ints

_TYPES = {
    **{"char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2"},
    **{"ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4"},
    **{"float": "f4", "float32": "f4", "double": "f8", "float64": "f8"},
}
_ORDERS = {"ascii": "<", "binary_little_endian": "<", "binary_big_endian": ">"}
_LONGEST_HEADER = 1 << 20
_FIRST_LINE = re.compile(rb"ply[ \t]*(\r\n|\n|\r)")


@dataclass(frozen=True)
class Ragged:
    """Lists of different lengths, one after the other.

    Attributes:
        values: [N], the items of all lists.
        sizes: i64[R], number of items of each.
    """

    values: NDArray[Any]
    sizes: Ints


@dataclass(frozen=True)
class Property:
    """One property of an element.

    Attributes:
        name: In small letters.
        type: Type of the value, or of a list's items, such as "f4".
        count_type: Type of a list's length; None for a single value.
    """

    name: str
    type: str
    count_type: str | None = None


@dataclass
class Element:
    """Rows of one kind, such as vertices or faces.

    Attributes:
        name: In small letters.
        count: Number of rows R as the header has it.
        properties: In the order of the file.
        columns: Single values by property, each [R].
        lists: Lists by property.
    """

    name: str
    count: int
    properties: list[Property] = field(default_factory=list)
    columns: dict[str, NDArray[Any]] = field(default_factory=dict)
    lists: dict[str, Ragged] = field(default_factory=dict)

    def put(self, one: Property, values: NDArray[Any], sizes: Ints | None) -> None:
        """Keep the values of a property; with the sizes of its lists, where it has lists."""
        if sizes is None:
            self.columns[one.name] = values
        else:
            self.lists[one.name] = Ragged(values, sizes)


@dataclass(frozen=True)
class PlyFile:
    """Contents of a PLY file.

    Attributes:
        elements: Elements by name.
        comments: Texts of the header's comments.
    """

    elements: dict[str, Element]
    comments: list[bytes]


def parse_ply(data: bytes) -> PlyFile:
    """Read all elements of a file.

    Args:
        data: The file's bytes.

    Raises:
        RejectedItem: Not a PLY file, a damaged header, or less data than the header promises.
    """
    header, body = _split(data)
    order, elements, comments = _header(header)
    if order == "ascii":  # as if a binary file of doubles
        values = parse_numbers(body)
        body = values.astype("<f8").tobytes()
    position = 0
    for element in elements:
        properties = element.properties
        if order == "ascii":
            properties = [Property(p.name, "f8", "f8" if p.count_type else None) for p in properties]
        position = _read_rows(body, position, element, properties, _ORDERS[order])
        for one in element.properties if order == "ascii" else ():
            _retype(element, one)
    return PlyFile({element.name: element for element in elements}, comments)


def _split(data: bytes) -> tuple[list[bytes], bytes]:
    """The header's lines, and what follows it."""
    first = _FIRST_LINE.match(data)
    if first is None:
        raise RejectedItem(
            "not a PLY file: it does not begin with ply" if data else "no geometry in the file: it is empty"
        )
    end = data.find(b"end_header", 0, _LONGEST_HEADER)
    if end < 0:
        raise RejectedItem("a PLY header without an end: damaged or truncated?")
    stop = data.find(first[1][-1:], end)
    body = data[stop + 1 :] if stop >= 0 else b""
    return data[:end].replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"), body


def _header(lines: list[bytes]) -> tuple[str, list[Element], list[bytes]]:
    order, elements, comments = "", list[Element](), list[bytes]()
    for line in lines[1:]:
        words = line.decode("ascii", errors="replace").lower().split()
        match words:
            case ["comment", *_]:
                comments.append(line.strip()[len("comment") :].strip())
            case ["format", name, _] if name in _ORDERS:
                order = name
            case ["element", name, count] if count.isdecimal() and len(count) < 19:
                elements.append(Element(name, int(count)))
            case ["property", "list", count_type, type_, name] if elements and {count_type, type_} <= set(
                _TYPES
            ):
                elements[-1].properties.append(Property(name, _TYPES[type_], _TYPES[count_type]))
            case ["property", type_, name] if elements and type_ in _TYPES:
                elements[-1].properties.append(Property(name, _TYPES[type_]))
            case [] | ["obj_info", *_]:
                pass
            case _:
                raise RejectedItem(f"a PLY header with {' '.join(words)[:60]!r}: damaged file?")
    if not order:
        raise RejectedItem("a PLY header without a format: damaged file?")
    return order, elements, comments


def _read_rows(body: bytes, position: int, element: Element, properties: list[Property], order: str) -> int:
    """Read an element's rows from a position in the body on; returns where they end."""
    if not properties or not element.count:
        for one in properties:
            sizes_of_none = np.empty(0, dtype=np.int64) if one.count_type else None
            element.put(one, np.empty(0, dtype=one.type), sizes_of_none)
        return position
    sizes = _first_sizes(body, position, properties, order)
    layout = np.dtype(
        [
            piece
            for number, (one, size) in enumerate(zip(properties, sizes, strict=True))
            for piece in _pieces(number, one, size, order)
        ]
    )
    if element.count * _smallest(properties) > len(body) - position:
        raise _truncated(element)
    if element.count * layout.itemsize <= len(body) - position:
        rows = np.frombuffer(body, layout, element.count, position)
        if all((rows[f"n{k}"] == size).all() for k, size in enumerate(sizes) if properties[k].count_type):
            for number, (one, size) in enumerate(zip(properties, sizes, strict=True)):
                values = np.ascontiguousarray(rows[f"v{number}"]).reshape(-1)
                element.put(one, values, np.full(element.count, size) if one.count_type else None)
            return position + element.count * layout.itemsize
    if not any(one.count_type for one in properties):
        raise _truncated(element)
    return _read_ragged(body, position, element, properties, order)


def _truncated(element: Element) -> RejectedItem:
    return RejectedItem(f"less data than the header's {element.count} of {element.name}: truncated?")


def _smallest(properties: list[Property]) -> int:
    """Least bytes of a row, whose lists are empty."""
    return sum(np.dtype(one.count_type or one.type).itemsize for one in properties)


def _pieces(number: int, one: Property, size: int, order: str) -> list[tuple[Any, ...]]:
    """Fields of a row's layout for one property, whose list has ``size`` items."""
    if one.count_type is None:
        return [(f"v{number}", order + one.type)]
    return [(f"n{number}", order + one.count_type), (f"v{number}", order + one.type, (size,))]


def _first_sizes(body: bytes, position: int, properties: list[Property], order: str) -> list[int]:
    """Lengths of the lists of the first row, 0 for single values; 0 from where the data ends."""
    sizes = []
    for one in properties:
        size = 0
        if one.count_type is not None:
            kind = np.dtype(order + one.count_type)
            if position + kind.itemsize <= len(body):
                size = int(np.nan_to_num(np.frombuffer(body, kind, 1, position)[0]))
            size = size if 0 <= size <= len(body) else 0
            position += kind.itemsize + size * np.dtype(one.type).itemsize
        else:
            position += np.dtype(one.type).itemsize
        sizes.append(size)
    return sizes


def _read_ragged(body: bytes, position: int, element: Element, properties: list[Property], order: str) -> int:
    """Read rows whose lists differ in length, one by one."""
    kinds = [
        (
            struct.Struct(order + np.dtype(one.count_type).char) if one.count_type else None,
            np.dtype(one.type).itemsize,
        )
        for one in properties
    ]
    starts: list[list[int]] = [[] for _ in properties]
    sizes: list[list[int]] = [[] for _ in properties]
    columns = list(zip(kinds, starts, sizes, strict=True))
    try:
        for _ in range(element.count):
            for (counter, width), start, size in columns:
                if counter is None:
                    start.append(position)
                    position += width
                else:
                    (count,) = counter.unpack_from(body, position)
                    position += counter.size
                    start.append(position)
                    size.append(int(count))
                    if count < 0:
                        raise RejectedItem(f"a list of {count} items in {element.name}: damaged file?")
                    position += int(count) * width
    except (struct.error, ValueError, OverflowError) as error:
        raise _truncated(element) from error
    if position > len(body):
        raise _truncated(element)
    bytes_ = np.frombuffer(body, dtype=np.uint8)
    for one, start, size in zip(properties, starts, sizes, strict=True):
        kind = np.dtype(order + one.type)
        first = np.array(start, dtype=np.int64)
        counts = np.array(size, dtype=np.int64) if one.count_type else None
        if counts is not None:
            step = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            first = np.repeat(first, counts) + step * kind.itemsize
        element.put(one, bytes_[first[:, None] + np.arange(kind.itemsize)].reshape(-1).view(kind), counts)
    return position


def _retype(element: Element, one: Property) -> None:
    """Give the doubles of an ASCII file the type of their property, where they are in its range."""
    if one.type.startswith("f"):
        return
    lists = element.lists.get(one.name) if one.count_type else None
    values = element.columns[one.name] if lists is None else lists.values
    limits = np.iinfo(one.type)
    if (
        not np.isfinite(values).all()
        or values.min(initial=0) < limits.min
        or values.max(initial=0) > limits.max
    ):
        raise RejectedItem(f"a value of {one.name} that its type {one.type} cannot hold: damaged file?")
    element.put(one, values.astype(one.type), None if lists is None else lists.sizes)
