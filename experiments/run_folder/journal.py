"""Journal of a run, metrics.jsonl: one JSON object per line, checked against what a checkpoint has noted."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from durable.disk_space import space_for
from durable.whole_files import write_bytes

SPANS = 6
"""Spans of missing steps that are named; others are counted."""


class Journal:
    """Lines of a journal, appended; goes on from where a checkpoint has noted that it stood.

    Where the file is not what was noted, the lines of earlier steps that can be read stay, what is missing is
    told on stderr, and the file as it was is kept beside it (``.damaged``).

    Args:
        path: The file; what is in it behind the noted lines is cut off.
        noted: Result of `noted` that the checkpoint holds; None begins an empty journal.
        step: Step of the checkpoint: each step before it has written one line.

    Attributes:
        whole: Whether all lines are there as they were written.

    Raises:
        NoSpaceError: The disk does not take it.
    """

    def __init__(self, path: Path, noted: dict[str, Any] | None = None, step: int = 0) -> None:
        self.path = path
        content = path.read_bytes() if path.exists() else b""
        kept = content[: noted["bytes"]] if noted else b""
        self.whole = noted is None or _is_noted(kept, noted)
        if not self.whole:
            kept = _salvaged(path, content, step)
        if content.startswith(kept):
            with path.open("ab") as file:
                file.truncate(len(kept))
        else:
            write_bytes(path, kept)
        self._digest = hashlib.sha256(kept)
        self._size = len(kept)
        self._file = path.open("ab", buffering=0)

    def noted(self) -> dict[str, Any]:
        """Length and SHA-256 of what stands there, forced to the disk, for a checkpoint or the results."""
        with space_for(self.path):
            os.fsync(self._file.fileno())
        return {"bytes": self._size, "sha256": self._digest.hexdigest()}

    def append(self, line: str) -> None:
        """Write a line, whole or not at all.

        Raises:
            NoSpaceError: The disk does not take it.
        """
        content = line.encode() + b"\n"
        with space_for(self.path, len(content)):
            try:
                rest = memoryview(content)
                while rest:
                    rest = rest[self._file.write(rest) :]
            except OSError:
                self._file.truncate(self._size)
                raise
        self._digest.update(content)
        self._size += len(content)

    def lines(self) -> list[str]:
        """All lines that stand there."""
        return self.path.read_text(encoding="utf-8").splitlines()

    def close(self) -> None:
        """Close the file; `noted` is not to be asked for any more."""
        self._file.close()


def _is_noted(content: bytes, noted: dict[str, Any]) -> bool:
    """Whether a file's beginning is what was noted; checkpoints of before there were checksums have none."""
    if len(content) < noted["bytes"]:
        return False
    return "sha256" not in noted or hashlib.sha256(content).hexdigest() == noted["sha256"]


def _salvaged(path: Path, content: bytes, step: int) -> bytes:
    """The lines of the steps before ``step`` that can be read; what is missing is reported."""
    found: dict[int, bytes] = {}
    damaged: list[int] = []
    for number, line in enumerate(content.split(b"\n"), 1):
        at = _step_of(line)
        if at is None:
            damaged += [number] if line else []
        elif at >= step:
            break
        else:
            found.setdefault(at, line + b"\n")
    missing = [at for at in range(step) if at not in found]
    faults = []
    if missing:
        steps = "line is" if len(missing) == 1 else "lines are"
        faults.append(f"{len(missing):,} of {step:,} {steps} missing, of step {spans(missing)}")
    if damaged:
        faults.append(f"line {spans(damaged)} cannot be read")
    told = "; ".join(faults) or "a line is not what was written"
    kept = ""
    if content:
        aside = path.with_name(f"{path.name}.damaged")
        write_bytes(aside, content)
        kept = f"; the file as it was is kept as {aside.name}"
    print(f"{path} is damaged: {told}; going on behind the others{kept}", file=sys.stderr, flush=True)
    return b"".join(found[at] for at in sorted(found))


def _step_of(line: bytes) -> int | None:
    """Step of a line; None where it cannot be read."""
    try:
        step = json.loads(line)["step"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    return step if isinstance(step, int) else None


def spans(numbers: Sequence[int]) -> str:
    """Ascending numbers in words: ``0 to 4, 9``."""
    ends: list[list[int]] = []
    for number in numbers:
        if ends and number == ends[-1][1] + 1:
            ends[-1][1] = number
        else:
            ends.append([number, number])
    words = [f"{first}" if first == last else f"{first} to {last}" for first, last in ends[:SPANS]]
    return ", ".join([*words, *(["and others"] if len(ends) > SPANS else [])])
