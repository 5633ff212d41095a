"""Many readers or one writer: a search sees the index before a change or after it, never amid it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ReadersWriterLock:
    """Readers share it, a writer has it alone; a waiting writer goes before new readers.

    Not reentrant: a reader that asks again while a writer waits would wait for itself.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._readers = 0
        self._writers = 0  # waiting or at work
        self._turn = threading.Lock()
        self._shared = _Reading(self)

    def reading(self) -> _Reading:
        """Holds writers off while a ``with`` statement lasts."""
        return self._shared

    def begin_reading(self) -> None:
        """Waits for writers; the caller owes `end_reading`."""
        with self._changed:
            while self._writers:
                self._changed.wait()
            self._readers += 1

    def end_reading(self) -> None:
        """Lets a writer in if this was the last reader."""
        with self._changed:
            self._readers -= 1
            if self._writers and not self._readers:
                self._changed.notify_all()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Holds everyone else off."""
        with self._changed:
            self._writers += 1
        try:
            with self._turn:
                with self._changed:
                    while self._readers:
                        self._changed.wait()
                yield
        finally:
            with self._changed:
                self._writers -= 1
                self._changed.notify_all()


class _Reading:
    """A reader's part. Without state, and so cheaper than a generator: every search pays for it."""

    def __init__(self, lock: ReadersWriterLock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        self._lock.begin_reading()

    def __exit__(self, *failure: object) -> None:
        self._lock.end_reading()
