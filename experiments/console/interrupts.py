"""Ctrl-C and SIGTERM at the end of a step, so that a run that is interrupted loses nothing."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def noted() -> Iterator[Callable[[], bool]]:
    """Within it SIGINT and SIGTERM are noted instead of raised; a second SIGINT is raised at once.

    Yields:
        Whether one has come. Only the main thread of a process has signals: never in another.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if came and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not came:  # print() may not be used here: it may be what was interrupted
            os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, _WORDS)
        came.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_WORDS = b"\ninterrupted: saving at the end of this step; Ctrl-C stops at once\n"
