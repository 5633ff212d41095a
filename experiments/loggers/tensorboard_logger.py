"""Logger for TensorBoard, which every run has: groups of curves, and pictures."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from durable.disk_space import no_space_reason, space_for
from experiments.loggers.base import Picture

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


class TensorBoardLogger:
    """Curves and pictures of a run in a folder of TensorBoard's.

    Args:
        folder: TensorBoard's.
        step: The step that is written next; TensorBoard forgets what a cut-off run wrote from there on.

    Raises:
        NoSpaceError: The disk does not take it, here or in any method.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._folder = folder
        _leave_second_of(folder)
        with space_for(folder):
            self._board = SummaryWriter(str(folder), purge_step=step if step else None)
        _hush_full_disks()

    def write(self, step: int, phase: str, values: Mapping[str, float]) -> None:
        """Draw the values of a step, named as `board_tag` says."""
        with space_for(self._folder):
            for name, value in values.items():
                tag = board_tag(phase, name)
                if tag is not None:
                    self._board.add_scalar(tag, value, step)

    def picture(self, step: int, name: str, pixels: Picture) -> None:
        """Show a picture ``[height, width, 3]``."""
        with space_for(self._folder):
            self._board.add_image(name, pixels, step, dataformats="HWC")

    def flush(self) -> None:
        """Make everything written so far visible."""
        with space_for(self._folder):
            self._board.flush()

    def close(self) -> None:
        """Write what is left."""
        with space_for(self._folder):
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

    The same error is raised by the next call of the thread that it writes for, which reports it in one line.
    """
    before = threading.excepthook
    if getattr(before, "func", None) is not _unless_full:
        threading.excepthook = partial(_unless_full, before)


def _unless_full(before: Any, failed: threading.ExceptHookArgs) -> None:
    of_board = type(failed.thread).__module__.startswith("tensorboard.")
    if not (of_board and failed.exc_value is not None and no_space_reason(failed.exc_value)):
        before(failed)
