"""Progress with a rate and the time left: a bar on a terminal, else a plain line every ten seconds."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

LINE_SECONDS = 10.0


class Tracker:
    """Shows how far a loop is.

    Args:
        name: what is being done.
        total: steps in all.
        unit: of the rate, such as ``steps``.
        done: steps that were done before (a resumed run).
    """

    def __init__(self, name: str, total: int, unit: str = "steps", done: int = 0) -> None:
        self.name, self.total, self.unit = name, total, unit
        self.done, self._first = done, done
        self._start = self._last = time.monotonic()
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif error is None and self.done > self._first:
            took = time.monotonic() - self._start
            print(f"{self.name}: {self.done} {self.unit} in {took:.0f} s", file=sys.stderr, flush=True)

    @property
    def rate(self) -> float:
        """Steps a second since the start."""
        return (self.done - self._first) / max(time.monotonic() - self._start, 1e-9)

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Counts steps.

        Args:
            steps: done since the last call.
            note: shown behind, such as the loss.
        """
        if self.done == self._first:
            self._show()
        self.done += steps
        rate = f"{self.rate:.1f} {self.unit}/s"
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, rate=rate, note=note)
        elif time.monotonic() - self._last >= LINE_SECONDS:
            self._last = time.monotonic()
            left = (self.total - self.done) / max(self.rate, 1e-9)
            print(
                f"{self.name}: {self.done}/{self.total}, {rate}, {left:.0f} s left {note}".rstrip(),
                file=sys.stderr,
                flush=True,
            )

    def _show(self) -> None:
        """Starts the bar, with the first step: what is found in a cache needs none."""
        console = Console(stderr=True)
        if console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]} {task.fields[note]}"),
                TimeRemainingColumn(),
                console=console,
            )
            self._bar.start()
            self._task = self._bar.add_task(
                self.name, total=self.total, completed=self.done, rate="", note=""
            )
