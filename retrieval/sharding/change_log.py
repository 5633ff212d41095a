"""The log of a sharded index's changes since it was last saved: what is in it has happened."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

from durable.appended_records import append_record, mend_records, read_records
from durable.errors import DamagedFileError
from retrieval.sharding.shard_change import Change


class ChangeLog:
    """Changes in a file, in their order; the caller sees to it that one thread writes at a time.

    Attributes:
        path: Of the file.
        base: Number of the last change before the first in the file.
        last: Number of the last change in the file; ``base`` where it has none.
    """

    def __init__(self, path: Path, base: int, *, mend: bool = True) -> None:
        """Opens the log of a saved index.

        What a process that was killed left half written, and so was not acknowledged, is cut off with a
        warning.

        Args:
            path: The file, which is there.
            base: See the class.
            mend: Whether half a change is cut off; else it is not looked at.

        Raises:
            DamagedFileError: It is missing or damaged.
        """
        self.path, self.base = path, base
        if mend and mend_records(path):
            warnings.warn(
                f"{path} ended with half a change, which nobody was told was in; cut off", stacklevel=2
            )
        self.last = base
        for change, _ in self.read():
            self.last = change.number

    def append(self, change: Change) -> None:
        """Writes a change down and forces it to the disk.

        Raises:
            NoSpaceError: The disk does not take it; the log is as it was.
        """
        append_record(self.path, change.to_bytes())
        self.last = change.number

    def read(self, start: int = 0) -> Iterator[tuple[Change, int]]:
        """The changes from a place on, each with the place behind it."""
        yield from read_changes(self.path, self.base if not start else None, start)


def read_changes(path: Path, base: int | None, start: int = 0) -> Iterator[tuple[Change, int]]:
    """The changes of a log, each with the place behind it.

    Args:
        path: The file.
        base: Number before the first change; None where that is not known.
        start: Place of the first change that is read.

    Raises:
        DamagedFileError: The file is missing or damaged, or a change is missing in it.
    """
    before = base
    for content, place in read_records(path, start):
        change = Change.from_bytes(content, path)
        if before is not None and change.number != before + 1:
            raise DamagedFileError(f"{path} is damaged: change {change.number} stands behind {before}")
        before = change.number
        yield change, place
