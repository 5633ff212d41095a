"""Log of a run's metrics: the journal, one line per step, and the loggers that show what stands in it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.loggers.followers import Follower
from experiments.loggers.tensorboard_logger import TensorBoardLogger
from experiments.run_folder.journal import Journal
from experiments.run_folder.names import JOURNAL

#: Names of values that say how long something took; all others are the same in every run with equal settings.
TIMING = ("time", "rate")


class MetricsLogger:
    """Writes metrics; resumes without a line twice.

    The journal is what counts: TensorBoard is drawn from the same values, and other loggers are fed with its
    lines. As a context, it leaves these loggers whatever happens.

    Args:
        folder: The run's folder.
        noted: What `noted` was when the checkpoint was written; later lines are cut off. None begins anew.
        step: The step that is written next.
        followers: Loggers beside TensorBoard; they get the lines that they lack.

    Raises:
        NoSpaceError: The disk does not take a line or a curve, here or in any method.
    """

    def __init__(
        self,
        folder: Path,
        noted: dict[str, Any] | None = None,
        step: int = 0,
        followers: Sequence[Follower] = (),
    ) -> None:
        self._journal = Journal(folder / JOURNAL, noted, step)
        self._board = TensorBoardLogger(folder / "tensorboard", step)
        self._followers = list(followers)
        if self._followers:
            self._follow(self._journal.lines())
        self._start = time.monotonic()

    def __enter__(self) -> MetricsLogger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for follower in self._followers:
            follower.close(finished=kind is None)

    @property
    def whole(self) -> bool:
        """Whether no line was lost or damaged before this process began."""
        return self._journal.whole

    def noted(self) -> dict[str, Any]:
        """Length and checksum of the journal, which is forced to the disk, for a checkpoint."""
        return self._journal.noted()

    def write(self, step: int, phase: str, values: Mapping[str, float]) -> None:
        """Writes one line and its curves.

        Args:
            step: Counts up over all phases of a run.
            phase: ``train``, ``agent`` or ``evaluate``.
            values: By name, such as ``loss/total``. JSON has no NaN: it is written as null.
        """
        plain = {name: float(value) for name, value in values.items()}
        line = {"step": step, "phase": phase, "time": round(time.monotonic() - self._start, 3)}
        line |= {name: value if math.isfinite(value) else None for name, value in plain.items()}
        text = json.dumps(line)
        self._journal.append(text)
        self._board.write(step, phase, plain)
        self._follow([text])

    def lines(self) -> list[str]:
        """Everything that stands in metrics.jsonl."""
        return self._journal.lines()

    def replay(self, lines: Iterable[str]) -> None:
        """Writes lines of another run's journal, and their curves, as if they had been written here."""
        for line in lines:
            self._journal.append(line)
            values = json.loads(line)
            step, phase = values.pop("step"), values.pop("phase")
            known = {k: v for k, v in values.items() if v is not None and k not in TIMING}
            self._board.write(step, phase, known)
            self._follow([line])

    def image(self, step: int, name: str, pixels: NDArray[np.uint8]) -> None:
        """Shows a picture ``[height, width, 3]``; loggers beside TensorBoard get it with the next line."""
        self._board.picture(step, name, pixels)
        for follower in self._followers:
            follower.picture(name, pixels)

    def results(self, results: Mapping[str, Any]) -> None:
        """Hands the content of results.json to the loggers beside TensorBoard."""
        for follower in self._followers:
            follower.results(results)

    def flush(self) -> None:
        """Makes everything written so far visible."""
        self._board.flush()

    def close(self) -> None:
        """Writes what is left."""
        self._journal.close()
        self._board.close()
        for follower in self._followers:
            follower.close(finished=True)

    def _follow(self, lines: Sequence[str]) -> None:
        for follower in self._followers:
            follower.lines(lines)
