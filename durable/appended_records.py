"""Records of bytes that are appended to a file one by one: on the disk before they count, with checksums.

A record is its length, the CRC-32 of the length, the first bytes of the SHA-256 of its content, and the
content. What a process that was killed left behind the last record is shorter than its own length says, and
is told apart from damage: a record whose checksum differs was there, and is refused by its place.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from durable.appended_lines import append_bytes
from durable.disk_space import space_for
from durable.errors import DamagedFileError

_LENGTH, _CHECK, _DIGEST = struct.Struct("<Q"), struct.Struct("<I"), 16
_HEAD = _LENGTH.size + _CHECK.size + _DIGEST


def append_record(path: Path, content: bytes) -> None:
    """Append a record, whole or not at all, and force it to the disk; the file and its folder are made.

    Args:
        path: The file, which is empty or ends with the end of a record; see `mend_records`.
        content: At least one byte.

    Raises:
        ValueError: There is no content.
        NoSpaceError: The disk does not take it; the file is as it was.
    """
    if not content:
        raise ValueError("content: expected at least one byte")
    length = _LENGTH.pack(len(content))
    digest = hashlib.sha256(content).digest()[:_DIGEST]
    append_bytes(path, length + _CHECK.pack(zlib.crc32(length)) + digest + content)


def read_records(path: Path, start: int = 0) -> Iterator[tuple[bytes, int]]:
    """The records of a file, each with the place behind it, up to the first that is not there in full.

    Args:
        path: The file.
        start: Place of the first record that is read, 0 or one that was returned.

    Raises:
        DamagedFileError: There is no file, or a record is not what was written; the message has its place.
    """
    try:
        with path.open("rb") as file:
            file.seek(start)
            while (content := _next(path, file, start)) is not None:
                start += _HEAD + len(content)
                yield content, start
    except FileNotFoundError as error:
        raise DamagedFileError(f"{path} is missing") from error


def mend_records(path: Path) -> int:
    """Cut off what stands behind the last whole record.

    Returns:
        How many bytes were cut off.

    Raises:
        DamagedFileError: As `read_records`.
        NoSpaceError: The disk does not take it.
    """
    end = 0
    for _, place in read_records(path):
        end = place
    rest = path.stat().st_size - end
    if rest:
        with space_for(path), path.open("r+b", buffering=0) as file:
            file.truncate(end)
            os.fsync(file.fileno())
    return rest


def _next(path: Path, file: BinaryIO, start: int) -> bytes | None:
    """The content of the record at a place; None where it is not there in full."""
    head = file.read(_HEAD)
    if len(head) < _HEAD:
        return None
    length = head[: _LENGTH.size]
    (check,) = _CHECK.unpack_from(head, _LENGTH.size)
    size = _LENGTH.unpack(length)[0]
    if check != zlib.crc32(length) or not size:
        raise DamagedFileError(f"{path} is damaged: the record at byte {start:,} has no length")
    if os.fstat(file.fileno()).st_size < start + _HEAD + size:
        return None
    content = file.read(size)
    if hashlib.sha256(content).digest()[:_DIGEST] != head[-_DIGEST:]:
        raise DamagedFileError(f"{path} is damaged: the checksum of the record at byte {start:,} differs")
    return content
