"""Process in which an attack tries one case after another, each within a bound of memory and time."""

from __future__ import annotations

import importlib
import multiprocessing
import resource
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

MOST_BYTES = 1 << 30
"""Memory that a case may take beyond what the process held before."""
MOST_SECONDS = 10.0
"""Processor time that a case may take."""
_WALL = 6.0
"""Seconds on the clock for a second of the processor, on a busy machine, before a case counts as hanging."""


@dataclass(frozen=True)
class Verdict:
    """What came of a case.

    Attributes:
        outcome: ``"read"``, ``"refused"``, or what must not happen.
        detail: The reason of a refusal, or the traceback.
    """

    outcome: str
    detail: str = ""

    @property
    def allowed(self) -> bool:
        """Whether it may end so."""
        return self.outcome in ("read", "refused")


@dataclass
class Findings:
    """Outcomes of an attack.

    Attributes:
        tried: Number of cases by name and outcome.
        faults: What must not happen, by kind; one case of each, with its name and content.
    """

    tried: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: dict[str, tuple[str, bytes, Verdict]] = field(default_factory=dict)

    def add(self, name: str, content: bytes, verdict: Verdict) -> None:
        """Note the outcome of a case."""
        self.tried[name, verdict.outcome] += 1
        if not verdict.allowed:
            last = verdict.detail.strip().splitlines()[-1:] or [""]
            self.faults.setdefault(
                f"{verdict.outcome} {Path(name).suffix} {last[0][:80]}", (name, content, verdict)
            )

    def save(self, folder: Path) -> None:
        """Write a file for each kind of fault, with its traceback beside it."""
        folder.mkdir(parents=True, exist_ok=True)
        for number, (name, content, verdict) in enumerate(self.faults.values()):
            (folder / f"{number:03d}-{name}").write_bytes(content)
            (folder / f"{number:03d}-{name}.txt").write_text(f"{verdict.outcome}\n{verdict.detail}")

    def __str__(self) -> str:
        total = Counter[str]()
        for (_, outcome), count in self.tried.items():
            total[outcome] += count
        figures = ", ".join(f"{count:,} {outcome}" for outcome, count in total.most_common())
        return "\n".join([f"{total.total():,} cases: {figures or 'none'}", *self.faults])


class LimitedChild:
    """A process that is started anew where a case ends or stalls it.

    Args:
        function: Name of what tries a case, ``package.module:name``: it takes the arguments of `try_case` and
            returns a `Verdict`.
    """

    def __init__(self, function: str) -> None:
        self._function = function
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None

    def __enter__(self) -> LimitedChild:
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()

    def try_case(self, *arguments: Any) -> Verdict:
        """Try one case; its end of the process, its hanging and its greed are verdicts."""
        if self._process is None:
            context = multiprocessing.get_context("spawn")
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(self._function, theirs), daemon=True)
            self._process.start()
            theirs.close()
        assert self._pipe is not None
        self._pipe.send(arguments)
        patience = MOST_SECONDS * _WALL
        if not self._pipe.poll(patience):
            self._stop()
            return Verdict("hung", f"no answer in {patience:.0f} s")
        try:
            answer: Verdict = self._pipe.recv()
        except EOFError:
            self._process.join()
            code = self._process.exitcode
            self._stop()
            return Verdict("ended the process", f"exit code {code}")
        return answer

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None


def _serve(name: str, pipe: Connection) -> None:
    """Answer cases until the pipe is closed."""
    module, _, function = name.partition(":")
    attempt: Callable[..., Verdict] = getattr(importlib.import_module(module), function)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while True:
        try:
            arguments = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        pipe.send(_measured(attempt, arguments))


def _measured(attempt: Callable[..., Verdict], arguments: tuple[Any, ...]) -> Verdict:
    _reset_peak()
    if (held := _status("VmSize")) > 0:
        resource.setrlimit(resource.RLIMIT_AS, (held + 4 * MOST_BYTES, resource.RLIM_INFINITY))
    before, started = _status("VmRSS"), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            verdict = attempt(*arguments)
        except BaseException:
            return Verdict("raised", traceback.format_exc())
    seconds, more = time.process_time() - started, _status("VmHWM") - before
    if seconds > MOST_SECONDS:
        return Verdict("took long", f"{seconds:.1f} s; {verdict.detail}")
    if more > MOST_BYTES:
        return Verdict("took memory", f"{more >> 20} MiB; {verdict.detail}")
    if "MemoryError" in verdict.detail:
        return Verdict("ran out of memory", verdict.detail)
    return verdict


def _reset_peak() -> None:
    """Let the kernel count the peak of resident memory anew (proc(5), clear_refs)."""
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")


def _status(key: str) -> int:
    """Bytes of a line of ``/proc/self/status``; 0 where there is none."""
    if sys.platform != "linux":
        return 0
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) << 10
    return 0
