"""Locks between processes, on any file system, with one line where they cannot be had.

The lock is flock(2), which NFS, Lustre, GPFS and CephFS carry to their server, so that it holds between
machines as well; unless they are mounted so that it stays on each machine, which `hold_here_alone` tells. The
server lets go of it when the machine that holds it is lost.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import Timeout, UnixFileLock

from durable.errors import LockError

_LOCAL = "ext2 ext3 ext4 xfs btrfs zfs f2fs bcachefs tmpfs ramfs overlay vfat"
_OWN_KINDS = frozenset(["", *_LOCAL.split()])
"""File systems that one machine mounts at a time; an empty name where nobody can tell."""
_NFS = ("nolock", "local_lock=all", "local_lock=flock")
_HERE_ALONE = {"nfs": _NFS, "nfs4": _NFS, "lustre": ("localflock",), "cifs": ("nobrl",), "smb3": ("nobrl",)}
"""Mount options by which locks stay on the machine that takes them."""


@contextmanager
def locked(
    path: Path, *, waiting: Callable[[], None] | None = None, refuse: str | None = None, advice: str = ""
) -> Iterator[None]:
    """Hold a lock file, for one process at a time; the system lets go of it when the process ends.

    The file names the process that holds it, for messages. On a file system of this machine's own it is
    removed in the end, while it is still held: who waits for it sees that it is gone and makes a new one.
    Where other machines may wait for it, it stays, empty: one of them could take a file that is gone for one
    that is free, and another a new one. One that a killed process left is free.

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
        if is_shared(path):
            with suppress(OSError):
                os.truncate(path, 0)
        else:
            path.unlink(missing_ok=True)
        lock.release()


def holder(path: Path) -> str:
    """The process that took a lock last, in words: ``process 1234 on host``; empty if nobody can tell."""
    try:
        number, host = path.read_text().split()
    except (OSError, ValueError):
        return ""
    return f"process {number} on {host}"


def is_shared(path: Path) -> bool:
    """Whether other machines may see a file: its file system is none of those that only one can mount."""
    kind, _ = _mount_of(path)
    return kind not in _OWN_KINDS


def hold_here_alone(path: Path) -> str:
    """The mount option by which the locks of a shared file system do not reach other machines; else empty.

    Args:
        path: A file or folder, or one that is yet to be made.
    """
    kind, options = _mount_of(path)
    return next((option for option in options if option in _HERE_ALONE.get(kind, ())), "")


def _mount_of(path: Path) -> tuple[str, frozenset[str]]:
    """Kind and options of the file system that holds a path; an empty kind where nobody can tell."""
    there = next((one for one in (path, *path.absolute().parents) if one.exists()), Path("/"))
    try:
        device = there.stat().st_dev
        lines = _mounts().splitlines()
    except OSError:
        return "", frozenset()
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in reversed(lines):
        mount, _, system = line.partition(" - ")
        if mount.split()[2] == number:
            kind, _, options = system.split(maxsplit=2)
            return kind, frozenset([*mount.split()[5].split(","), *options.split(",")])
    return "", frozenset()


def _mounts() -> str:
    """The file systems that are mounted, as Linux lists them: see proc_pid_mountinfo(5)."""
    return Path("/proc/self/mountinfo").read_text(errors="replace")


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
