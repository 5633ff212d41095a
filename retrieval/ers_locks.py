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

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Holds writers off."""
        with self._changed:
            while self._writers:
                self._changed.wait()
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1
                if not self._readers:
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
