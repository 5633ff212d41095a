"""Engines that run the arms of a sweep: what each of them does, and the one of this machine's processes."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from experiments.sweeps.sweep_arm import Arm, end


@dataclass(frozen=True)
class Ended:
    """How an arm ended.

    Attributes:
        code: Exit code of its command, negative for the signal that ended it.
        lost: Why there is none: what became of the process or the machine that ran it.
    """

    code: int = 0
    lost: str = ""


class RunningArm(Protocol):
    """An arm that an engine has taken."""

    def poll(self) -> Ended | None:
        """How it ended; None while it waits or runs."""


class ArmEngine(Protocol):
    """What runs arms: each by itself, so that one that fails, or is killed, stops no other.

    Attributes:
        most: Arms that it takes at a time.
        spreads: Whether other machines may run them, which share this one's file system.
    """

    most: int
    spreads: bool

    def start(self, arms: Sequence[Arm]) -> Sequence[RunningArm]:
        """Take arms: no more than it may have at a time."""

    def close(self) -> None:
        """End those that wait or run, and let go of what the engine holds."""


class LocalProcess:
    """An arm that runs as a process of this one."""

    def __init__(self, arm: Arm) -> None:
        self.process: subprocess.Popen[bytes] = arm.start()

    def poll(self) -> Ended | None:
        """How it ended; None while it runs."""
        code = self.process.poll()
        return None if code is None else Ended(code)


class LocalProcesses:
    """Engine of this machine alone: ``hydra/launcher=arms``.

    Args:
        jobs: Arms that run at a time.
    """

    spreads = False

    def __init__(self, jobs: int) -> None:
        self.most = jobs
        self._taken: list[LocalProcess] = []

    def start(self, arms: Sequence[Arm]) -> list[LocalProcess]:
        """Start a process for each arm."""
        started = []
        for arm in arms:
            self._taken.append(LocalProcess(arm))
            started.append(self._taken[-1])
        return started

    def close(self) -> None:
        """End those that run."""
        end(*(one.process for one in self._taken if one.process.poll() is None))
