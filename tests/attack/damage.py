"""Damages that a disk, a crash or a copy does to a file."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

_BLANK = 512


def _flip(content: bytes, draws: random.Random) -> bytes:
    """One bit."""
    changed = bytearray(content)
    if changed:
        changed[draws.randrange(len(changed))] ^= 1 << draws.randrange(8)
    return bytes(changed)


def _cut(content: bytes, draws: random.Random) -> bytes:
    """Some bytes at least stay, and some are lost."""
    return content[: draws.randrange(1, len(content))] if len(content) > 1 else content


def _empty(content: bytes, draws: random.Random) -> bytes:
    return b""


def _blank(content: bytes, draws: random.Random) -> bytes:
    """A block of zeros, as a file system leaves where a crash came before the data."""
    at = draws.randrange(len(content)) // _BLANK * _BLANK if content else 0
    return content[:at] + bytes(len(content[at : at + _BLANK])) + content[at + _BLANK :]


def _grow(content: bytes, draws: random.Random) -> bytes:
    """Bytes behind the end."""
    return content + draws.randbytes(draws.randint(1, 64))


CHANGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "flip": _flip,
    "cut": _cut,
    "empty": _empty,
    "blank": _blank,
    "grow": _grow,
}
DAMAGES = (*CHANGES, "delete")


def damage(path: Path, how: str, draws: random.Random) -> bool:
    """Damages a file; its time of change stays, and other names of its content are not touched.

    Args:
        path: The file.
        how: One of `DAMAGES`.
        draws: Where, how much.

    Returns:
        Whether it is another file then: an empty one cannot be emptied.
    """
    if how == "delete":
        path.unlink()
        return True
    before, facts = path.read_bytes(), path.stat()
    after = CHANGES[how](before, draws)
    path.unlink()  # a copy of a world shares its large files
    path.write_bytes(after)
    os.chmod(path, facts.st_mode)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    return after != before
