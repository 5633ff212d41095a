"""Loop of a sweep: skips arms that are done, hands the others to an engine, lists those that failed."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from align3d.console.terminal import say
from align3d.console.typed_settings import setting
from experiments.run_folder.names import FINAL, RERANKED, RESULTS
from experiments.sweeps.arm_engines import ArmEngine, Ended, RunningArm
from experiments.sweeps.sweep_arm import Arm

SWEEP_DIR = "hydra.sweep.dir"
INTERRUPTED_EXIT = 130
POLL_SECONDS = 0.2
SEEN_SECONDS = 90.0
"""Seconds until what another machine wrote is seen here: NFS looks into a folder once a minute."""


@dataclass
class _Taken:
    """An arm that the engine has, and when it was taken and ended."""

    arm: Arm
    running: RunningArm
    since: float
    ended_at: float | None = None

    def ended(self, spreads: bool) -> Ended | None:
        """How it ended; None while it runs, or its results are on their way to this machine."""
        found = self.running.poll()
        if found != Ended() or self.arm.has_results():
            return found
        self.ended_at = self.ended_at or time.monotonic()
        if spreads and time.monotonic() - self.ended_at < SEEN_SECONDS:
            with suppress(OSError):  # has NFS look again
                os.utime(self.arm.folder)
            return None
        return Ended(lost=f"it ended well, but no {RESULTS} is in {self.arm.folder} on this machine")


def run_arms(arms: Sequence[Arm], engine: ArmEngine, every: float, root: Path) -> list[Arm]:
    """Run arms, as many at a time as the engine takes, and say when each starts and ends.

    Args:
        arms: Arms to run, in this order.
        engine: What runs them; it is closed in the end.
        every: Seconds between lines on the running arms; 0 for none.
        root: Folder of the sweep, for the closing line.

    Returns:
        Those that failed.
    """
    number = {id(arm): f"[{place}/{len(arms)}] {arm.name}" for place, arm in enumerate(arms, 1)}
    waiting: list[Arm] = []
    for arm in arms:
        if arm.is_done():
            _say(f"{number[id(arm)]}: done before, {_figures(arm)}")
        else:
            waiting.append(arm)
    running: list[_Taken] = []
    failed: dict[int, str] = {}
    shown_at = time.monotonic()
    with _ended_with_us(engine, root):
        while waiting or running:
            if next_ones := waiting[: engine.most - len(running)]:
                del waiting[: len(next_ones)]
                started = engine.start(next_ones)
                for arm, handle in zip(next_ones, started, strict=True):
                    running.append(_Taken(arm, handle, time.monotonic()))
                    _say(f"{number[id(arm)]}: started")
            for taken in list(running):
                if (ended := taken.ended(engine.spreads)) is None:
                    continue
                running.remove(taken)
                arm, took = taken.arm, _duration(time.monotonic() - taken.since)
                if ended == Ended():
                    _say(f"{number[id(arm)]}: done in {took}, {_figures(arm)}")
                else:
                    failed[id(arm)] = _cause(arm, ended)
                    _say(f"{number[id(arm)]}: failed after {took}")
            if every and time.monotonic() - shown_at > every:
                shown_at = time.monotonic()
                for taken in running:
                    _say(f"{number[id(taken.arm)]}: {taken.arm.last_line() or 'waiting or running'}")
            time.sleep(POLL_SECONDS if running else 0)
    report = shlex.join(["python", "-m", "experiments.report", str(root)])
    _say(f"{len(arms) - len(failed)} of {len(arms)} runs are done: {report}")
    lost = [arm for arm in arms if id(arm) in failed]
    for arm in lost:
        _say(f"error: {arm.name}: {failed[id(arm)]} ({arm.log})")
    return lost


def _figures(arm: Arm) -> str:
    """Result of a job, in half a line."""
    from experiments.run_folder.readers import read_json

    metrics: dict[str, Any] = read_json(arm.folder / RESULTS).get("metrics", {})
    name = "text_to_shape/recall@1"
    if name not in metrics.get(FINAL, {}) or name not in metrics.get(RERANKED, {}):
        return str(arm.folder)
    final, before = 100 * metrics[FINAL][name], 100 * metrics[RERANKED][name]
    return f"R@1 text → shape {final:.1f} (without calibration {before:.1f})"


def _cause(arm: Arm, ended: Ended) -> str:
    if ended.lost:
        return ended.lost
    if ended.code < 0:
        return f"killed by {signal.Signals(-ended.code).name}"
    return f"exit code {ended.code}, {arm.last_line().removeprefix('error: ') or 'nothing printed'}"


@contextmanager
def _ended_with_us(engine: ArmEngine, root: Path) -> Iterator[None]:
    """End the running arms when this process is interrupted or terminated."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        _say(f"interrupted; the same command with resume=true {setting(SWEEP_DIR, root)} goes on from here")
        sys.exit(INTERRUPTED_EXIT)
    finally:
        engine.close()
        signal.signal(signal.SIGTERM, before)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _say(text: str) -> None:
    say(text, error=True)
