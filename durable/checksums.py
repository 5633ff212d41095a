"""Checksums (SHA-256) of what is written and read again: within a JSON file, or in a file's name.

A JSON object carries its own under ``checksum``. Any other file that one process writes and another reads
has the first digits of its own in its name, so that file and checksum are put in their place at one blow.
Folders of several files have a manifest of JSON with the checksums of the rest.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from durable.errors import DamagedFileError
from durable.whole_files import name_beside, put_in_place, remove, write_bytes

CHECKSUM = "checksum"
DIGITS = 16
"""Digits of the checksum in a file's name: 64 bits, enough against accidents."""


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_facts(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of files in a folder, by name: what a manifest says of them."""
    return {
        name: {"bytes": (folder / name).stat().st_size, "sha256": file_sha256(folder / name)}
        for name in names
    }


def check_files(folder: Path, facts: dict[str, Any], *, verify: bool = True) -> None:
    """Compare files with what `file_facts` said of them.

    Args:
        folder: Where they are.
        facts: By name.
        verify: Whether every file is read and its checksum compared; sizes alone otherwise.

    Raises:
        DamagedFileError: A file is missing or changed; the first of them is named.
    """
    for name, wanted in facts.items():
        path = folder / name
        if not isinstance(wanted, dict) or [type(wanted.get(key)) for key in ("bytes", "sha256")] != [
            int,
            str,
        ]:
            raise DamagedFileError(f"{path}: no size and SHA-256 are written down of it")
        try:
            fault = _fault(path, wanted, verify)
        except FileNotFoundError:  # gone since it was looked for
            fault = "is missing"
        if fault:
            raise DamagedFileError(f"{path} {fault}")


def _fault(path: Path, wanted: dict[str, Any], verify: bool) -> str:
    """Fault of a file in words; empty if it is as it was written."""
    if not path.is_file():
        return "is missing"
    if (size := path.stat().st_size) != wanted["bytes"]:
        return f"is damaged: {size:,} bytes, expected {wanted['bytes']:,}"
    if verify and file_sha256(path) != wanted["sha256"]:
        return "is damaged: its SHA-256 is not the one that was written down"
    return ""


def json_bytes(
    content: dict[str, Any], *, indent: int | None = 1, default: Callable[[Any], Any] | None = None
) -> bytes:
    """A JSON object with its checksum, under ``checksum`` as its last name.

    The order of the names and the numbers' spelling count: a changed byte shows, but for blanks.

    Args:
        content: The object.
        indent: Blanks before each level; None for a single line.
        default: Turns what JSON lacks into what it has, such as ``str``; None raises a TypeError.
    """
    plain = json.loads(json.dumps(content, default=default))
    plain.pop(CHECKSUM, None)
    return (json.dumps(plain | {CHECKSUM: json_sha256(plain)}, indent=indent) + "\n").encode()


def json_sha256(content: Any) -> str:
    """SHA-256 of a JSON value as Python spells it, in hex."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def write_json(
    path: Path,
    content: dict[str, Any],
    *,
    indent: int | None = 1,
    default: Callable[[Any], Any] | None = None,
) -> None:
    """Write a JSON object with its checksum, whole or not at all; see `json_bytes` for the arguments.

    Raises:
        NoSpaceError: The disk does not take it.
    """
    write_bytes(path, json_bytes(content, indent=indent, default=default))


def checked_json(path: Path, content: dict[str, Any], *, needed: bool = True) -> dict[str, Any]:
    """The object without its checksum, which is compared.

    Args:
        path: Of the file, for the message.
        content: What was read from it.
        needed: Whether a file without a checksum is refused; files of before there were any have none.

    Raises:
        DamagedFileError: The checksum differs, or there is none where one is needed.
    """
    plain = dict(content)
    checksum = plain.pop(CHECKSUM, None)
    if checksum is None and not needed:
        return plain
    if checksum != json_sha256(plain):
        state = "has no checksum" if checksum is None else "its checksum differs"
        raise DamagedFileError(f"{path} is damaged: {state}")
    return plain


def write_named(
    folder: Path, stem: str, suffix: str, write: Callable[[Path], None], need: int | None = None
) -> Path:
    """Write a file with its checksum in its name, whole or not at all; others of the stem are removed.

    Args:
        folder: Made if it is missing.
        stem: First part of the name, without a dot.
        suffix: Last part of the name, such as ``.safetensors``.
        write: Writes the file to the path that it is given.
        need: Bytes that it takes, if that is known, for the message.

    Returns:
        The file's path, ``FOLDER/STEM-CHECKSUM.SUFFIX``.

    Raises:
        NoSpaceError: The disk does not take it.
    """
    with name_beside(folder / f"{stem}{suffix}", need) as beside:
        write(beside)
        place = folder / f"{stem}-{file_sha256(beside)[:DIGITS]}{suffix}"
        put_in_place(beside, place)
    for other in _named(folder, stem, suffix):
        if other != place:
            remove(other)
    return place


def find_named(folder: Path, stem: str, suffix: str) -> Path | None:
    """The file of a stem whose checksum is the one in its name; None where it is to be made anew.

    One that is damaged is moved aside (``.damaged``), and one line on stderr says so.

    Raises:
        DamagedFileError: A damaged file cannot be moved.
    """
    for path in _named(folder, stem, suffix):
        with suppress(FileNotFoundError):  # another process has set it aside or replaced it
            if file_sha256(path)[:DIGITS] == path.name.removesuffix(suffix)[-DIGITS:]:
                return path
            set_aside(path, "its SHA-256 is not the one in its name")
    return None


def set_aside(path: Path, reason: str) -> Path:
    """Move what is damaged, a file or a folder, out of the way, and say so in one line on stderr.

    Returns:
        Where it is: the same name with ``.damaged``. One that was there already is removed.

    Raises:
        FileNotFoundError: It is gone.
        DamagedFileError: It cannot be moved.
    """
    aside = path.with_name(f"{path.name}.damaged")
    try:
        remove(aside)
        path.rename(aside)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedFileError(
            f"{path} is damaged ({reason}), and cannot be moved out of the way ({error.strerror})"
        ) from error
    print(f"{path} is damaged ({reason}): kept as {aside.name}, made anew", file=sys.stderr, flush=True)
    return aside


def _named(folder: Path, stem: str, suffix: str) -> list[Path]:
    length = len(stem) + 1 + DIGITS + len(suffix)
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if len(path.name) == length and path.name.startswith(f"{stem}-") and path.name.endswith(suffix)
    )
