"""Lock of a run folder: one process at a time works in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from durable.file_lock import locked
from durable.whole_files import PARTIAL, remove

LOCK = ".lock"


@contextmanager
def held_folder(named: str, folder: Path) -> Iterator[None]:
    """Hold a folder of a run or a sweep; what a killed process has left half written there is removed.

    Args:
        named: The folder as it is typed, such as ``hydra.run.dir=outputs/mine``.
        folder: Is made if it is missing.

    Raises:
        LockError: Another process works there, which is named, or the file system knows no locks.
    """
    refuse = f"{named}: another process is at work there; wait for its end, or name another folder"
    with locked(folder / LOCK, refuse=refuse, advice="name a folder on another file system"):
        for leftover in folder.glob(f"{PARTIAL}*"):
            remove(leftover)
        yield
