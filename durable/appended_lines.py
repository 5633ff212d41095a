"""Lines that are appended to a file one by one: on the disk before they count, never half a one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from durable.disk_space import space_for
from durable.whole_files import sync


def read_lines(path: Path) -> tuple[list[bytes], bytes]:
    """The lines of a file without their ends, and what follows the last end of a line.

    A file that is not there has none. What follows the last end is half a line of a process that was killed,
    or the last line of an editor that wrote no end behind it: who knows what lines look like decides.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return [], b""
    *lines, rest = content.split(b"\n")
    return lines, rest


def mend_end(path: Path, is_line: Callable[[bytes], bool]) -> bytes:
    """Let a file end with the end of a line: half a line is cut off, a whole one without an end gets it.

    Args:
        path: The file; nothing is done where there is none.
        is_line: Whether what follows the last end of a line is a whole line.

    Returns:
        What was cut off; empty if nothing was.

    Raises:
        NoSpaceError: The disk does not take it.
    """
    _, rest = read_lines(path)
    if not rest:
        return b""
    with space_for(path), path.open("r+b", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        if is_line(rest):
            file.write(b"\n")
        else:
            file.truncate(end - len(rest))
        os.fsync(file.fileno())
    return b"" if is_line(rest) else rest


def append_line(path: Path, line: bytes) -> None:
    """Append a line, whole or not at all, and force it to the disk; the file and its folder are made.

    Args:
        path: The file, which is empty or ends with the end of a line; see `mend_end`.
        line: Without its end.

    Raises:
        NoSpaceError: The disk does not take it; the file is as it was.
    """
    append_bytes(path, line + b"\n")


def append_bytes(path: Path, content: bytes) -> None:
    """Append bytes, all or none of them, and force them to the disk; the file and its folder are made.

    Raises:
        NoSpaceError: The disk does not take them; the file is as it was.
    """
    with space_for(path, len(content)):
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        with path.open("ab", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            try:
                rest = memoryview(content)
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(size)
                raise
        if is_new:
            sync(path.parent)


def drop_last_line(path: Path) -> None:
    """Cut off the last line, if there is one, of a file that ends with the end of a line."""
    lines, _ = read_lines(path)
    if not lines:
        return
    with path.open("r+b", buffering=0) as file:
        file.truncate(sum(len(line) + 1 for line in lines[:-1]))
        os.fsync(file.fileno())
