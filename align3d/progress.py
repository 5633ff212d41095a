"""A progress bar with rate and time left, shown only where it helps."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

_PATIENCE_S = 2.0


class _Rate(ProgressColumn):
    """Items a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.1f}/s", style="progress.data.speed")


class ItemProgress:
    """Counts items; draws a bar on stderr if that is a terminal and the work takes more than 2 s."""

    def __init__(self, title: str, total: int, *, enabled: bool = True) -> None:
        self.title, self.total = title, total
        self.enabled = enabled and sys.stderr.isatty()
        self.started = time.monotonic()
        self.found = self.done = 0
        self.bar: Progress | None = None
        self.task_id = 0

    def __enter__(self) -> ItemProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    def skip(self, count: int) -> None:
        """Items that an earlier build has done: they count, but not for the rate."""
        self.found += count

    def advance(self, count: int) -> None:
        """Items that are done now."""
        self.done += count
        if not self.enabled:
            return
        if self.bar is None and time.monotonic() - self.started > _PATIENCE_S:
            self.bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                _Rate(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self.bar.start()
            note = f" ({self.found} found done)" if self.found else ""
            self.task_id = self.bar.add_task(self.title + note, total=self.total - self.found)
        if self.bar is not None:
            self.bar.update(self.task_id, completed=self.done)  # type: ignore[arg-type]
