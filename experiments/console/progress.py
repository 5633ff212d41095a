"""Progress with a rate and the time left: a bar on a terminal, else a plain line every ten seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
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
        clock: tells the time in seconds.
    """

    def __init__(
        self,
        name: str,
        total: int,
        unit: str = "steps",
        done: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.total, self.unit, self.clock = name, total, unit, clock
        self.done, self._first = done, done
        self._start = self._told = self._counted = clock()
        self._slowest = (0.0, 0)  # seconds and steps of the call of `advance` that took longest
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
            took = self.clock() - self._start
            print(f"{self.name}: {self.done} {self.unit} in {took:.0f} s", file=sys.stderr, flush=True)

    @property
    def rate(self) -> float | None:
        """Steps a second, without the slowest: the first of its kind may load or compile what others find.

        None as long as there are no others.
        """
        seconds, steps = self._slowest
        others = self.done - self._first - steps
        return others / max(self._counted - self._start - seconds, 1e-9) if others else None

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Counts steps.

        Args:
            steps: done since the last call.
            note: shown behind, such as the loss.
        """
        if self.done == self._first:
            self._show()
        now = self.clock()
        self._slowest = max(self._slowest, (now - self._counted, steps))
        self._counted = now
        self.done += steps
        rate = "" if self.rate is None else f"{self.rate:.1f} {self.unit}/s"
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, rate=rate, note=note)
        elif now - self._told >= LINE_SECONDS:
            self._told = now
            pace = f", {rate}, {max(self.total - self.done, 0) / self.rate:.0f} s left" if self.rate else ""
            print(f"{self.name}: {self.done}/{self.total}{pace} {note}".rstrip(), file=sys.stderr, flush=True)

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
