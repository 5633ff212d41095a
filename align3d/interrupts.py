"""Ctrl-C without a traceback: while a command is still importing, and in worker processes.

Importing this module is enough for the first: the packages whose modules are commands import it before
anything slow. What a command does about Ctrl-C once it runs is its own affair.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType


def _told(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A `sys.excepthook`; the interpreter then ends by the signal, as a shell expects."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


if sys.argv[:1] == [
    "-m"
]:  # what it is while `python -m` looks for the command's module, in this very package
    sys.excepthook = _told


@contextmanager
def held_back() -> Iterator[None]:
    """Keeps SIGINT from processes that are started within, and from this thread until the end.

    They inherit that it is blocked, until they call `end_at_once`: Ctrl-C goes to all processes of a
    terminal, and one that was still importing would print a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_at_once() -> None:
    """From here on SIGINT ends this process without a word, also one that `held_back` has kept from it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
