"""Decoder of ``EXT_meshopt_compression``; no package on PyPI has both a license and wheels for every CPU.

The three codecs and the filter of exponents are those of the extension's specification (Khronos Group, 2021;
attributes of version 0, triangles and indices of version 1).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

_TAIL = 32
"""Least size in bytes of the end of compressed attributes, which holds the first element."""


class MeshoptError(ValueError):
    """Compressed data that cannot be decoded. The message says why, in a few words."""


def decode_meshopt(data: bytes, count: int, stride: int, mode: str, filter: str = "NONE") -> bytes:
    """Decode a compressed buffer view.

    Args:
        data: Compressed bytes.
        count: Number of elements.
        stride: Bytes of an element.
        mode: "ATTRIBUTES", "TRIANGLES" or "INDICES".
        filter: "NONE" or "EXPONENTIAL"; the filters of directions and turns are not read.

    Returns:
        ``count * stride`` bytes.

    Raises:
        MeshoptError: Cut or damaged data, or an unknown version, mode or filter.
    """
    if mode == "ATTRIBUTES":
        elements = _attributes(data, count, stride)
        if filter == "EXPONENTIAL":
            return _exponential(elements)
        if filter != "NONE":
            raise MeshoptError(f"filter {filter}, which is not read")
        return elements.tobytes()
    if mode not in ("TRIANGLES", "INDICES") or stride not in (2, 4):
        raise MeshoptError(f"mode {mode} of {stride} bytes")
    try:
        indices = _triangles(data, count) if mode == "TRIANGLES" else _indices(data, count)
        return np.array(indices, dtype=np.int64).astype(f"<u{stride}").tobytes()
    except (IndexError, StopIteration, OverflowError) as error:
        raise MeshoptError("damaged or cut") from error


def _attributes(data: bytes, count: int, stride: int) -> Bytes:
    """Elements of the codec of attributes, u8[count, stride]."""
    tail = max(stride, _TAIL)
    if not 0 < stride <= 256 or stride % 4 or len(data) < 1 + tail or data[0] != 0xA0:
        raise MeshoptError("damaged, cut, or of another version than 0")
    packed = np.frombuffer(data, np.uint8)[: len(data) - tail]
    block = min(8192 // stride & ~15, 256)
    least = (
        -(-count // block) * stride
    )  # each block has at least a byte of header for each byte of an element
    if least > len(packed):
        raise MeshoptError("cut")
    elements = np.empty((count, stride), np.uint8)
    last = np.frombuffer(data, np.uint8)[len(data) - stride :]
    at = 1
    for start in range(0, count, block):
        size = min(block, count - start)
        for byte in range(stride):
            deltas, at = _byte_plane(packed, at, size)
            steps = (deltas >> 1) ^ (-(deltas & 1).astype(np.int8)).astype(np.uint8)
            elements[start : start + size, byte] = np.cumsum(steps, dtype=np.uint8) + last[byte]
        last = elements[start + size - 1]
    return elements


def _byte_plane(packed: Bytes, at: int, size: int) -> tuple[Bytes, int]:
    """Deltas of one byte of a block's elements, u8[size], and where the next begin."""
    groups = -(-size // 16)
    header = packed[at : at + -(-groups // 4)]
    if len(header) < -(-groups // 4):
        raise MeshoptError("cut")
    at += len(header)
    deltas = np.zeros(groups * 16, np.uint8)
    for group in range(groups):
        kind = int(header[group // 4]) >> (group % 4 * 2) & 3
        if kind == 0:
            continue
        bits = (0, 2, 4, 8)[kind]
        row = packed[at : at + 2 * bits]
        if len(row) < 2 * bits:
            raise MeshoptError("cut")
        at += 2 * bits
        if bits < 8:
            shifts = np.arange(8 - bits, -1, -bits)
            row = (row[:, None] >> shifts & (1 << bits) - 1).reshape(-1).astype(np.uint8)
            large = np.flatnonzero(row == (1 << bits) - 1)
            if at + len(large) > len(packed):
                raise MeshoptError("cut")
            row[large] = packed[at : at + len(large)]
            at += len(large)
        deltas[group * 16 : group * 16 + 16] = row
    return deltas[:size], at


def _exponential(elements: Bytes) -> bytes:
    """Floats from mantissas of 24 and exponents of 8 bits."""
    words = elements.view("<i4")
    return np.ldexp((words << 8 >> 8).astype(np.float32), words >> 24).astype("<f4").tobytes()


def _varied(data: Iterator[int]) -> int:
    """A whole number of seven bits a byte."""
    value = 0
    for shift in range(0, 35, 7):
        byte = next(data)
        value |= (byte & 127) << shift
        if byte < 128:
            return value
    raise MeshoptError("damaged")


def _step(value: int) -> int:
    """A signed step from its zigzag form."""
    return value >> 1 ^ -(value & 1)


def _indices(data: bytes, count: int) -> list[int]:
    """Indices of the codec of sequences."""
    if count > len(data) or data[0] != 0xD1:
        raise MeshoptError("damaged, cut, or of another version than 1")
    rest = iter(data[1:-4])
    last, found = [0, 0], []
    for _ in range(count):
        value = _varied(rest)
        last[value & 1] += _step(value >> 1)
        found.append(last[value & 1])
    return found


class _Recent:
    """The sixteen vertices and edges that were last seen, and the numbers that new ones get."""

    def __init__(self) -> None:
        self.vertices = [0] * 16
        self.edges = [(0, 0)] * 16
        self.vertex_at = self.edge_at = 0
        self.next = self.last = 0

    def vertex(self, back: int) -> int:
        return self.vertices[self.vertex_at - back & 15]

    def push_vertex(self, vertex: int) -> None:
        self.vertices[self.vertex_at] = vertex
        self.vertex_at = self.vertex_at + 1 & 15

    def push_edges(self, *edges: tuple[int, int]) -> None:
        for edge in edges:
            self.edges[self.edge_at] = edge
            self.edge_at = self.edge_at + 1 & 15

    def new(self) -> int:
        self.next += 1
        return self.next - 1

    def free(self, data: Iterator[int]) -> int:
        self.last += _step(_varied(data))
        return self.last


def _triangles(data: bytes, count: int) -> list[int]:
    """Indices of the codec of triangles."""
    if count % 3 or len(data) < 17 + count // 3 or data[0] != 0xE1:
        raise MeshoptError("damaged, cut, or of another version than 1")
    codes, rest, common = data[1 : 1 + count // 3], iter(data[1 + count // 3 : -16]), data[-16:]
    seen, found = _Recent(), list[int]()
    for code in codes:
        if code < 0xF0:
            found += _on_an_edge(seen, code, rest)
        else:
            found += _apart(seen, code, rest, common)
    return found


def _on_an_edge(seen: _Recent, code: int, rest: Iterator[int]) -> tuple[int, int, int]:
    """A triangle that shares an edge with a recent one."""
    a, b = seen.edges[seen.edge_at - 1 - (code >> 4) & 15]
    kind = code & 15
    if kind == 0:
        c = seen.new()
    elif kind < 13:
        c = seen.vertex(1 + kind)
    elif kind < 15:
        c = seen.last = seen.last + (kind - (kind ^ 3))
    else:
        c = seen.free(rest)
    if kind == 0 or kind >= 13:
        seen.push_vertex(c)
    seen.push_edges((c, b), (a, c))
    return a, b, c


def _apart(seen: _Recent, code: int, rest: Iterator[int], common: bytes) -> tuple[int, int, int]:
    """A triangle without a recent edge."""
    kinds = common[code & 15] if code < 0xFE else next(rest)
    if code >= 0xFE and kinds == 0:
        seen.next = 0
    first = 15 if code == 0xFF else 0
    sources = (first, kinds >> 4, kinds & 15)
    # New vertices get their numbers before the free ones are read, and all before any is remembered.
    corners = [seen.new() if source == 0 else seen.vertex(source) for source in sources]
    if code >= 0xFE:
        corners = [
            seen.free(rest) if source == 15 else corner
            for source, corner in zip(sources, corners, strict=True)
        ]
    for source, corner in zip(sources, corners, strict=True):
        if source == 0 or (source == 15 and code >= 0xFE):
            seen.push_vertex(corner)
    a, b, c = corners
    seen.push_edges((b, a), (c, b), (a, c))
    return a, b, c
