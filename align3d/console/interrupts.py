"""Ctrl-C without a traceback and without a loss: in imports, in worker processes, in the steps of a loop.

Importing this module is enough for the imports: the packages whose modules are commands import it before
anything slow. What a command does about Ctrl-C once it runs is its own affair.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

from align3d.console.terminal import say

_SAVING = b"\ninterrupted: saving at the end of this step; Ctrl-C stops at once\n"


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A `sys.excepthook`; the interpreter then ends by the signal, as a shell expects."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        lines = traceback.format_exception(kind, error, trace)
        say("".join(lines).rstrip("\n"), error=True)


if sys.argv[:1] == ["-m"]:  # as long as `python -m` looks for the command's module
    sys.excepthook = _report


@contextmanager
def held_back() -> Iterator[None]:
    """Keep SIGINT from processes that are started within, and from this thread until the end.

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
    """Let SIGINT end this process without a word from here on, even if `held_back` has kept it away."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@contextmanager
def noted(*, tell: bool = True) -> Iterator[Callable[[], bool]]:
    """Note SIGINT and SIGTERM instead of raising them; a second SIGINT is raised at once.

    Args:
        tell: Whether to say on stderr that one has come.

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
        if tell and not came:  # print() may not be used here: it may be what was interrupted
            os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, _SAVING)
        came.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
