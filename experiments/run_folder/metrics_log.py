"""What a run writes down as it goes: metrics.jsonl, one line a step, and TensorBoard."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

#: Names of values that say how long something took; all others are the same in every run with equal settings.
TIMING = ("time", "rate")


class MetricsLogger:
    """Writes metrics; resumes without a line twice.

    Args:
        folder: the run's folder.
        position: bytes of metrics.jsonl that stand (from a checkpoint); later lines are cut off.
        step: the step that is written next; TensorBoard forgets what a cut-off run wrote from there on.
    """

    def __init__(self, folder: Path, position: int = 0, step: int = 0) -> None:
        self.path = folder / "metrics.jsonl"
        self._file = self.path.open("ab")
        self._file.truncate(position)
        self._file.seek(0, os.SEEK_END)
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step if step else None)
        self._start = time.monotonic()

    @property
    def position(self) -> int:
        """Bytes written so far, for a checkpoint."""
        self._file.flush()
        return self._file.tell()

    def write(self, step: int, phase: str, values: Mapping[str, float]) -> None:
        """Writes one line and its curves.

        Args:
            step: counts up over all phases of a run.
            phase: ``train``, ``agent`` or ``evaluate``.
            values: by TensorBoard's names, such as ``loss/total``. JSON has no NaN: it is written as null.
        """
        plain = {name: float(value) for name, value in values.items()}
        line = {"step": step, "phase": phase, "time": round(time.monotonic() - self._start, 3)}
        line |= {name: value if math.isfinite(value) else None for name, value in plain.items()}
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()
        for name, value in plain.items():
            self._board.add_scalar(name, value, step)

    def lines(self) -> list[str]:
        """Everything that stands in metrics.jsonl."""
        self._file.flush()
        return self.path.read_text().splitlines()

    def replay(self, lines: Iterable[str]) -> None:
        """Writes lines of another run's journal, and their curves, as if they had been written here."""
        for line in lines:
            self._file.write(line.encode() + b"\n")
            values = json.loads(line)
            step = values.pop("step")
            for name, value in values.items():
                if isinstance(value, float | int) and name not in TIMING:
                    self._board.add_scalar(name, value, step)
        self._file.flush()

    def image(self, step: int, name: str, pixels: NDArray[np.uint8]) -> None:
        """Shows a picture ``[height, width, 3]`` in TensorBoard."""
        self._board.add_image(name, pixels, step, dataformats="HWC")

    def flush(self) -> None:
        """Makes everything written so far visible."""
        self._file.flush()
        self._board.flush()

    def close(self) -> None:
        """Writes what is left."""
        self._file.close()
        self._board.close()
