"""Log of a run's metrics: the journal, one line per step, and TensorBoard."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

from durable.disk_space import no_space_reason, space_for
from experiments.run_folder.journal import Journal
from experiments.run_folder.names import JOURNAL

#: Names of values that say how long something took; all others are the same in every run with equal settings.
TIMING = ("time", "rate")


#: Losses of the model; others under ``loss/`` are an agent's.
_MODEL_LOSSES = ("total", "global", "fine", "alone", "distill", "grounding")
#: Groups of TensorBoard, which shows them in the order of their names, by group of the value and by phase.
_GROUPS = {
    ("reward", "agent"): "1 rewards in the agent's training",
    ("reward", "train"): "2 rewards in the model's training",
    ("validation", None): "3 agent in validation",
    ("test", None): "4 agent in the test",
    ("retrieval", None): "5 retrieval",
    ("loss", None): "6 losses of the model",
    ("learning", "agent"): "7 agent's learning in its own training",
    ("learning", "train"): "8 agent's learning in the model's training",
    ("distill", None): "9 more: distillation",
    ("optimizer", None): "9 more: optimizer",
    ("grounding", None): "9 more: grounding",
}
_INTERVAL_ENDS = ("_low", "_high")


def board_tag(phase: str, name: str) -> str | None:
    """The name in TensorBoard of a value of metrics.jsonl, None for the ends of intervals.

    Rewards stand first, and what came of the agent's training and of the model's in groups of their own.
    """
    group, _, rest = name.partition("/")
    if group == "grounding" and rest.endswith(_INTERVAL_ENDS):
        return None
    if group in ("search", "agent") or (group == "loss" and rest not in _MODEL_LOSSES):
        group = "learning"
    title = _GROUPS.get((group, phase)) or _GROUPS.get((group, None))
    return f"{title}/{rest}" if title else name


class MetricsLogger:
    """Writes metrics; resumes without a line twice.

    Args:
        folder: The run's folder.
        noted: What `noted` was when the checkpoint was written; later lines are cut off. None begins anew.
        step: The step that is written next; TensorBoard forgets what a cut-off run wrote from there on.

    Raises:
        NoSpaceError: The disk does not take a line or a curve, here or in any method.
    """

    def __init__(self, folder: Path, noted: dict[str, Any] | None = None, step: int = 0) -> None:
        self._journal = Journal(folder / JOURNAL, noted, step)
        self._board_folder = folder / "tensorboard"
        _leave_second_of(self._board_folder)
        with space_for(self._board_folder):
            self._board = SummaryWriter(str(self._board_folder), purge_step=step if step else None)
        _hush_full_disks()
        self._start = time.monotonic()

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
            values: By name, such as ``loss/total``; TensorBoard has them as `board_tag` says. JSON has no
                NaN: it is written as null.
        """
        plain = {name: float(value) for name, value in values.items()}
        line = {"step": step, "phase": phase, "time": round(time.monotonic() - self._start, 3)}
        line |= {name: value if math.isfinite(value) else None for name, value in plain.items()}
        self._journal.append(json.dumps(line))
        self._draw(step, phase, plain)

    def lines(self) -> list[str]:
        """Everything that stands in metrics.jsonl."""
        return self._journal.lines()

    def replay(self, lines: Iterable[str]) -> None:
        """Writes lines of another run's journal, and their curves, as if they had been written here."""
        for line in lines:
            self._journal.append(line)
            values = json.loads(line)
            step, phase = values.pop("step"), values.pop("phase")
            self._draw(step, phase, {k: v for k, v in values.items() if v is not None and k not in TIMING})

    def _draw(self, step: int, phase: str, values: Mapping[str, float]) -> None:
        with space_for(self._board_folder):
            for name, value in values.items():
                tag = board_tag(phase, name)
                if tag is not None:
                    self._board.add_scalar(tag, value, step)

    def image(self, step: int, name: str, pixels: NDArray[np.uint8]) -> None:
        """Shows a picture ``[height, width, 3]`` in TensorBoard."""
        with space_for(self._board_folder):
            self._board.add_image(name, pixels, step, dataformats="HWC")

    def flush(self) -> None:
        """Makes everything written so far visible."""
        with space_for(self._board_folder):
            self._board.flush()

    def close(self) -> None:
        """Writes what is left."""
        self._journal.close()
        with space_for(self._board_folder):
            self._board.close()


def _leave_second_of(folder: Path) -> None:
    """Waits until the clock shows another second than it did when a file of TensorBoard was begun.

    TensorBoard reads files in the order of their names. These begin with the second; within it, the tenth
    file of a process comes before the ninth.
    """
    now = time.time()
    if any(
        path.name.split(".")[3:4] == [f"{int(now):010d}"] for path in folder.glob("events.out.tfevents.*")
    ):
        time.sleep(int(now) + 1 - now)


def _hush_full_disks() -> None:
    """Keeps the thread in which TensorBoard writes from printing a traceback of a full disk.

    The same error is raised by the next call of the thread that it writes for, where it is told in one line.
    """
    before = threading.excepthook
    if getattr(before, "func", None) is not _unless_full:
        threading.excepthook = partial(_unless_full, before)


def _unless_full(before: Any, failed: threading.ExceptHookArgs) -> None:
    of_board = type(failed.thread).__module__.startswith("tensorboard.")
    if not (of_board and failed.exc_value is not None and no_space_reason(failed.exc_value)):
        before(failed)
