"""Progress with a rate and the time left: a bar on a terminal, else a plain line every ten seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from align3d.console.rich_terminal import Terminal
from align3d.console.terminal import on_one_line, say

LINE_SECONDS = 10.0


class Tracker:
    """Progress of a loop, shown on stderr.

    Args:
        name: What is being done.
        total: Steps in all.
        unit: Plural of what is counted, such as ``steps``.
        done: Steps that were done before (a resumed run).
        clock: Function that returns the time in seconds.
        patience: Seconds before anything is shown.
        enabled: Whether anything is shown at all.
    """

    def __init__(
        self,
        name: str,
        total: int,
        unit: str = "steps",
        done: int = 0,
        clock: Callable[[], float] = time.monotonic,
        *,
        patience: float = 0.0,
        enabled: bool = True,
    ) -> None:
        self.name, self.total, self.unit, self.clock = on_one_line(name), total, unit, clock
        self.patience, self.enabled = patience, enabled
        self.done, self._first = done, done
        self._start = self._shown_at = self._counted_at = clock()
        self._slowest = (0.0, 0)  # seconds and steps of the call of `advance` that took longest
        self._waits = enabled  # for the time to show a bar
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        took = self.clock() - self._start
        if self._bar is not None:
            self._bar.stop()
        elif self.enabled and error is None and self.done > self._first and took >= self.patience:
            self._print(f"{self.name}: {self.done} {self.unit} in {took:.0f} s")

    @property
    def rate(self) -> float | None:
        """Steps per second, without the slowest: the first of its kind may load or compile what others find.

        None as long as there are no others.
        """
        seconds, steps = self._slowest
        others = self.done - self._first - steps
        return others / max(self._counted_at - self._start - seconds, 1e-9) if others else None

    def skip(self, steps: int) -> None:
        """Count steps that were done before; they do not enter the rate."""
        self.done += steps
        self._first += steps

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Count steps.

        Args:
            steps: Steps done since the last call.
            note: Text behind the figures, such as the loss.
        """
        now = self.clock()
        if self._waits and now - self._start >= self.patience:
            self._waits = False
            self._show()
        self._slowest = max(self._slowest, (now - self._counted_at, steps))
        self._counted_at = now
        self.done += steps
        rate = "" if self.rate is None else f"{self.rate:.1f} {self.unit}/s"
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, rate=rate, note=on_one_line(note))
        elif self.enabled and now - self._shown_at >= LINE_SECONDS:
            self._shown_at = now
            pace = f", {rate}, {max(self.total - self.done, 0) / self.rate:.0f} s left" if self.rate else ""
            self._print(f"{self.name}: {self.done}/{self.total}{pace} {note}".rstrip())

    def _show(self) -> None:
        """Start the bar where there is a terminal."""
        console = Terminal(stderr=True)
        if not console.is_terminal:
            return
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]} {task.fields[note]}", markup=False),
            TimeRemainingColumn(),
            console=console,
        )
        self._bar.start()
        self._task = self._bar.add_task(self.name, total=self.total, completed=self.done, rate="", note="")

    @staticmethod
    def _print(text: str) -> None:
        say(text, error=True)
