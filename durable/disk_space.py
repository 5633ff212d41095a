"""Full disks, quotas and limits, reported in one line."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from durable.errors import NoSpaceError

FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota is used up",
    errno.EFBIG: "the file is larger than the limit of the process or the file system",
}
"""Errors by number; libraries that are not written in Python have only the words of them."""
_SHORT = "the disk or a limit took only a part of it"
_WROTE_LESS = ("requested and", "short write", "unexpected pos")
"""How NumPy, faiss and PyTorch say that less was written than they asked for."""
_WORDS = {
    "no space left": errno.ENOSPC,
    "os error 28": errno.ENOSPC,
    "quota exceeded": errno.EDQUOT,
    "file too large": errno.EFBIG,
    "os error 27": errno.EFBIG,
}


def no_space_reason(error: BaseException) -> str | None:
    """Reason of an error in words, if something is full; None where it has another cause.

    Args:
        error: An ``OSError``, or what a library raised in place of one (safetensors, pyarrow, faiss, torch).
    """
    number = error.errno if isinstance(error, OSError) and error.errno is not None else None
    text = str(error).lower()
    if number is None:
        number = next((number for words, number in _WORDS.items() if words in text), None)
    if number is None:
        return _SHORT if any(words in text for words in _WROTE_LESS) else None
    return FULL.get(number)


def no_space(path: Path, error: BaseException, need: int | None = None) -> NoSpaceError | None:
    """One line for an error that says that something is full; None for any other error.

    Args:
        path: What was to be written.
        error: What was raised.
        need: Bytes that it takes, if that is known.
    """
    reason = no_space_reason(error)
    if reason is None:
        return None
    parts = [reason]
    if need is not None:
        parts.append(f"{megabytes(need)} are needed")
    if (free := free_bytes(path)) is not None:
        parts.append(f"{megabytes(free)} are free")
    return NoSpaceError(
        f"{path}: cannot be written ({', '.join(parts)}); make room, or choose another folder"
    )


@contextmanager
def space_for(path: Path, need: int | None = None) -> Iterator[None]:
    """Turn errors of a full disk, of any library, into a `NoSpaceError` that names the path.

    Args:
        path: What is written in the body.
        need: Bytes that it takes, if that is known.

    Raises:
        NoSpaceError: The disk, a quota or a limit does not take it.
    """
    try:
        yield
    except NoSpaceError:
        raise  # of a file within: its line says more
    except Exception as error:
        told = no_space(path, error, need)
        if told is None:
            raise
        raise told from error


@contextmanager
def full_disk_named() -> Iterator[None]:
    """Turn what the system says of a full disk, and nothing within has, into a `NoSpaceError`: for commands.

    Raises:
        NoSpaceError: The disk, a quota or a limit does not take a file.
    """
    try:
        yield
    except OSError as error:
        told = no_space(Path(error.filename or Path.cwd()), error)
        if told is None:
            raise
        raise told from error


def free_bytes(path: Path) -> int | None:
    """Bytes that are free where a path is or would be made; None where nobody can tell."""
    for folder in (path, *path.absolute().parents):
        if folder.exists():
            try:
                return shutil.disk_usage(folder).free
            except OSError:
                return None
    return None


def megabytes(size: int) -> str:
    """A number of bytes in MB, with a decimal where it is small."""
    return f"{size / 1e6:,.0f} MB" if size >= 10e6 else f"{size / 1e6:.1f} MB"
