"""Locks between processes, on any file system, with one line where they cannot be had."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import Timeout, UnixFileLock

from durable.errors import LockError


@contextmanager
def locked(
    path: Path, *, waiting: Callable[[], None] | None = None, refuse: str | None = None, advice: str = ""
) -> Iterator[None]:
    """Hold a lock file, for one process at a time; the system lets go of it when the process ends.

    The file names the process that holds it, for messages, and is removed in the end, while it is still held:
    who waits for it sees that it is gone and makes a new one. One that a killed process left is free.

    Args:
        path: The lock file; the folders above it are made.
        waiting: Called once if another process holds the lock, before it is waited for.
        refuse: Do not wait: the first words of the error where another process holds the lock.
        advice: What to do where the file system knows no locks, such as ``choose another cache=``.

    Raises:
        LockError: Another process holds it and ``refuse`` is given, or no lock can be had there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()  # filelock would try for ever where no file can be made
    except OSError as error:
        raise LockError(f"{path}: no lock can be made there ({error.strerror}){_joined(advice)}") from error
    lock = _acquire(path, advice, waiting, refuse)
    try:
        with suppress(OSError):  # a full disk: the name of the process is for messages alone
            path.write_text(f"{os.getpid()} {socket.gethostname()}\n")
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()


def holder(path: Path) -> str:
    """The process that took a lock last, in words: ``process 1234 on host``; empty if nobody can tell."""
    try:
        number, host = path.read_text().split()
    except (OSError, ValueError):
        return ""
    return f"process {number} on {host}"


def _acquire(path: Path, advice: str, waiting: Callable[[], None] | None, refuse: str | None) -> UnixFileLock:
    # Without flock(2) the library would take a file that exists for a lock, which the one made here is.
    lock = UnixFileLock(path, fallback_to_soft=False)
    try:
        try:
            lock.acquire(blocking=False)
        except Timeout:
            if refuse is not None:
                by = holder(path)
                raise LockError(f"{refuse}{f' ({by})' if by else ''}") from None
            if waiting is not None:
                waiting()
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LockError(f"{path}: the file system knows no locks ({reason}){_joined(advice)}") from error
    return lock


def _joined(advice: str) -> str:
    return f"; {advice}" if advice else ""
