"""Files and folders that are replaced as a whole: a crash leaves the old one or the new one."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from durable.disk_space import space_for

PARTIAL = ".partial-"
"""In the name of everything that is being written and not yet in its place."""


@contextmanager
def name_beside(path: Path, need: int | None = None) -> Iterator[Path]:
    """Give a name beside ``path`` to write to; what is still there at the end is removed.

    Args:
        path: What is to be written; its folder is made if it is missing.
        need: Bytes that it takes, if that is known.

    Raises:
        NoSpaceError: The disk does not take what the body writes.
    """
    with space_for(path, need):
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{PARTIAL}{secrets.token_hex(4)}{path.suffix}")
        try:
            yield beside
        finally:
            remove(beside)


@contextmanager
def replacing(path: Path, need: int | None = None) -> Iterator[Path]:
    """Give a name beside ``path`` to write to; what is written there takes the place at the end.

    What was written is on the disk before it is in its place. Where the body raises, nothing is left of it,
    and ``path`` is as it was.

    Args:
        path: A file, old or new; its folder is made if it is missing.
        need: Bytes that it takes, if that is known.

    Raises:
        NoSpaceError: The disk does not take it.
    """
    with name_beside(path, need) as beside:
        yield beside
        put_in_place(beside, path)


def put_in_place(beside: Path, path: Path) -> None:
    """Rename a finished file, and force it and its name to the disk."""
    sync(beside)
    os.replace(beside, path)
    sync(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all.

    Raises:
        NoSpaceError: The disk does not take it.
    """
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all.

    Raises:
        NoSpaceError: The disk does not take it.
    """
    with replacing(path) as beside:
        beside.write_bytes(content)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file that nobody changes a second name, or make a copy where the file system has no hard links.

    Args:
        source: The file.
        target: The name, which takes the place of another file's; its folder is made if it is missing.

    Raises:
        NoSpaceError: The disk does not take a copy.
    """
    with replacing(target, source.stat().st_size) as beside:
        try:
            os.link(source, beside)
        except OSError:
            shutil.copyfile(source, beside)


def sync(path: Path) -> None:
    """Force a file's content, or a folder's names, to the disk (fsync(2))."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def sync_tree(folder: Path) -> None:
    """Force a folder, and all that is in it, to the disk."""
    for path in folder.rglob("*"):
        sync(path)
    sync(folder)


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
