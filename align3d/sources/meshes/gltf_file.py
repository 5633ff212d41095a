"""glTF file: its JSON, its buffers and its accessors as arrays, no size in it trusted.

Sections and tables are those of the glTF 2.0 specification (Khronos Group, 2021).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import numpy as np
from numpy.typing import NDArray

from align3d.errors import RejectedItem
from align3d.sources.meshes.gltf_meshopt import MeshoptError, decode_meshopt
from align3d.sources.meshes.linked_files import UnreadableLink, read_linked

MOST_ZEROS = 1 << 24
"""Largest count of values that take few bytes of the file, or none, as the base of a sparse accessor."""
MESHOPT = ("EXT_meshopt_compression", "KHR_meshopt_compression")
_JSON_CHUNK, _BINARY_CHUNK = 0x4E4F534A, 0x004E4942
_COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")  # one letter is a drive


class GltfFile:
    """A .gltf or .glb file, told apart by its first bytes.

    Attributes:
        tree: The JSON.

    Args:
        path: The file.
        root: Folder that its buffers and images must lie below.

    Raises:
        RejectedItem: It is no glTF 2.0, or cut.
    """

    def __init__(self, path: Path, root: Path) -> None:
        self._path, self._root = path, root
        data = path.read_bytes()
        text, self._binary = _chunks(data) if data[:4] == b"glTF" else (data, None)
        self.tree: dict[str, Any] = _parse(text)
        self._buffers: dict[int, memoryview] = {}
        self._arrays: dict[int, NDArray[Any]] = {}
        self._decoded: dict[int, memoryview] = {}

    def entry(self, kind: str, index: Any) -> dict[str, Any]:
        """An entry of one of the JSON's lists, such as of "meshes".

        Raises:
            RejectedItem: There is no such entry.
        """
        entries = self.tree.get(kind, [])
        if not isinstance(entries, list):
            raise RejectedItem(f"cannot be read: {kind} is a {type(entries).__name__}, expected a list")
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(entries):
            raise RejectedItem(
                f"cannot be read: it names {kind}[{index!r}], of which there are {len(entries)}"
            )
        if not isinstance(entries[index], dict):
            raise RejectedItem(f"cannot be read: {kind}[{index}] is no object")
        return entries[index]

    def linked(self, uri: str) -> bytes:
        """Bytes of a data URI, or of a file below the root.

        Raises:
            UnreadableLink: No such file, one outside the root, or a web address.
        """
        if uri.startswith("data:"):
            head, _, body = uri.partition(",")
            try:
                return base64.b64decode(body) if head.endswith(";base64") else unquote_to_bytes(body)
            except binascii.Error as error:
                raise UnreadableLink(f"data URI is not base64: {error}") from error
        if _SCHEME.match(uri):
            raise UnreadableLink(f"{uri[:80]!r} is a web address, expected a file below the root")
        return read_linked(self._path, uri, self._root)

    def view(self, index: Any) -> memoryview:
        """Bytes of a buffer view; compressed ones are decoded where there are no plain ones.

        Raises:
            RejectedItem: It reaches beyond its buffer, or cannot be decoded.
        """
        view = self.entry("bufferViews", index)
        for name in MESHOPT:
            if name in view.get("extensions", {}) and self._is_fallback(view.get("buffer")):
                if index not in self._decoded:
                    self._decoded[index] = self._decompressed(view["extensions"][name], name)
                return self._decoded[index]
        return self._slice(view, f"bufferViews[{index}]")

    def _slice(self, place: dict[str, Any], where: str) -> memoryview:
        data = self._buffer(place.get("buffer"))
        start, length = _whole(place, "byteOffset", 0), _whole(place, "byteLength")
        if start + length > len(data):
            raise RejectedItem(
                f"cannot be read: {where} reaches to byte {start + length} of {len(data)}: "
                f"damaged or truncated?"
            )
        return data[start : start + length]

    def _decompressed(self, packed: dict[str, Any], name: str) -> memoryview:
        """Bytes of a buffer view of ``EXT_meshopt_compression``."""
        count, stride = _whole(packed, "count"), _whole(packed, "byteStride")
        if count > MOST_ZEROS:
            raise RejectedItem(f"cannot be read: its {name} claims {count} elements")
        kinds = str(packed.get("mode")), str(packed.get("filter", "NONE"))
        try:
            return memoryview(decode_meshopt(bytes(self._slice(packed, name)), count, stride, *kinds))
        except MeshoptError as error:
            raise RejectedItem(f"cannot be read: its {name}: {error}") from error

    def accessor(self, index: Any) -> NDArray[Any]:
        """Values of an accessor (section 3.6.2).

        Returns:
            [count, components]; f64 where they are normalized or floats, else whole numbers. Not to be
            written to, as whoever asks again gets the same array.

        Raises:
            RejectedItem: It reaches beyond its buffer view, or is of an unknown type.
        """
        if index not in self._arrays:
            self._arrays[index] = self._accessor(index)
        return self._arrays[index]

    def has_values(self, index: Any) -> bool:
        """Whether an accessor's values are in the file, and not left to be zeros or to an extension."""
        accessor = self.entry("accessors", index)
        return "bufferView" in accessor or "sparse" in accessor

    def _accessor(self, index: Any) -> NDArray[Any]:
        accessor = self.entry("accessors", index)
        where = f"accessors[{index}]"
        count = _whole(accessor, "count")
        dtype, width = _type(accessor, where)
        if "bufferView" in accessor:
            values = self._strided(accessor, dtype, width, count, where)
        elif count > MOST_ZEROS:
            raise RejectedItem(f"cannot be read: {where} claims {count} values that are not in the file")
        else:
            values = np.zeros((count, width), dtype)
        if "sparse" in accessor:
            sparse = accessor["sparse"]
            changes = _whole(sparse, "count")
            places = self._strided(
                sparse["indices"], _type({"type": "SCALAR", **sparse["indices"]}, where)[0], 1, changes, where
            )
            if changes and int(places.max()) >= count:
                raise RejectedItem(f"cannot be read: {where} changes a value that is not there")
            values = values.copy()
            values[places[:, 0]] = self._strided(sparse["values"], dtype, width, changes, where)
        return decoded(values, bool(accessor.get("normalized")))

    def _strided(
        self, place: dict[str, Any], dtype: np.dtype[Any], width: int, count: int, where: str
    ) -> NDArray[Any]:
        """``count`` elements of ``width`` components from a buffer view, [count, width]."""
        view = self.view(place.get("bufferView"))
        size = dtype.itemsize * width
        stride = _whole(self.entry("bufferViews", place["bufferView"]), "byteStride", 0) or size
        start = _whole(place, "byteOffset", 0)
        if stride < size:
            raise RejectedItem(
                f"cannot be read: {where} has a stride of {stride} for elements of {size} bytes"
            )
        if count and start + (count - 1) * stride + size > len(view):
            raise RejectedItem(
                f"cannot be read: {where} claims {count} elements of {size} bytes, and its buffer view has "
                f"{len(view)} bytes: damaged or truncated?"
            )
        if not count:
            return np.zeros((0, width), dtype)
        return np.ndarray((count, width), dtype, buffer=view, offset=start, strides=(stride, dtype.itemsize))

    def _is_fallback(self, index: Any) -> bool:
        """Whether a buffer only stands for data that is compressed elsewhere, and may not even be there."""
        buffers = self.tree.get("buffers", [])
        has_bytes = index in range(len(buffers)) and "uri" in buffers[index]
        return not has_bytes and (index != 0 or self._binary is None)

    def _buffer(self, index: Any) -> memoryview:
        if index not in self._buffers:
            buffer = self.entry("buffers", index)
            if "uri" in buffer:
                try:
                    data = memoryview(self.linked(str(buffer["uri"])))
                except UnreadableLink as error:
                    raise RejectedItem(f"cannot be read: buffer {index}: {error}") from error
            elif index == 0 and self._binary is not None:
                data = self._binary
            else:
                raise RejectedItem(f"cannot be read: buffer {index} has no data: truncated?")
            length = _whole(buffer, "byteLength")
            if length > len(data):
                raise RejectedItem(
                    f"cannot be read: buffer {index} has {len(data)} bytes instead of {length}: truncated?"
                )
            self._buffers[index] = data[:length]
        return self._buffers[index]


def decoded(values: NDArray[Any], normalized: bool) -> NDArray[Any]:
    """Floats as f64, and whole numbers that stand for fractions as those (section 3.6.2.2 and 3.11)."""
    if np.issubdtype(values.dtype, np.floating):
        return values.astype(np.float64)
    if not normalized:
        return values
    return np.maximum(values / float(np.iinfo(values.dtype).max), -1.0)


def _type(accessor: dict[str, Any], where: str) -> tuple[np.dtype[Any], int]:
    """Type of an accessor's components, and their number."""
    component, kind = accessor.get("componentType"), accessor.get("type")
    if component not in _COMPONENTS or kind not in _WIDTHS:
        raise RejectedItem(f"cannot be read: {where} is of the unknown type {kind} of {component}")
    return np.dtype(_COMPONENTS[component]), _WIDTHS[kind]


def _whole(entry: dict[str, Any], key: str, default: int | None = None) -> int:
    """A count, offset or length of the JSON."""
    value = entry.get(key, default)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise RejectedItem(f"cannot be read: {key}={value!r}, expected a whole number from 0")
    return value


def _chunks(data: bytes) -> tuple[bytes, memoryview | None]:
    """The JSON and the binary chunk of a GLB (section 4)."""
    if len(data) < 20:
        raise RejectedItem("cannot be read: cut within its header")
    version, _ = struct.unpack_from("<II", data, 4)
    if version != 2:
        raise RejectedItem(f"cannot be read: binary glTF of version {version}, expected 2")
    text, binary, start = None, None, 12
    while start + 8 <= len(data) and (text is None or binary is None):
        length, kind = struct.unpack_from("<II", data, start)
        if start + 8 + length > len(data):
            raise RejectedItem(
                f"cannot be read: a chunk reaches to byte {start + 8 + length} of {len(data)}: truncated?"
            )
        content = memoryview(data)[start + 8 : start + 8 + length]
        if kind == _JSON_CHUNK and text is None:
            text = content
        elif kind == _BINARY_CHUNK and binary is None:
            binary = content
        start += 8 + length
    if text is None:
        raise RejectedItem("cannot be read: a binary glTF without JSON")
    return bytes(text), binary


def _parse(text: bytes) -> dict[str, Any]:
    """The JSON, of UTF-8 with or without a byte order mark, padded with blanks or zero bytes."""
    if not text.strip(b" \t\r\n\0"):
        raise RejectedItem("cannot be read: an empty file")
    try:
        encoding = json.detect_encoding(text)
        tree = json.loads(text.decode(encoding).rstrip(" \t\r\n\0"))
    except (ValueError, RecursionError) as error:
        raise RejectedItem(f"cannot be read: not JSON ({error}): damaged or truncated?") from error
    if not isinstance(tree, dict):
        raise RejectedItem(f"cannot be read: its JSON is a {type(tree).__name__}, expected an object")
    version = str(tree.get("asset", {}).get("version", "2.0"))
    if not version.startswith("2."):
        raise RejectedItem(f"cannot be read: glTF of version {version}, expected 2.0")
    return tree
