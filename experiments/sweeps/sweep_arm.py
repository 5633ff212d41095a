"""Arm of a sweep: the command that one would type for it alone, its folder, its process on any machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from align3d.errors import UserError
from experiments.run_folder.names import CONFIG, RESULTS, is_begun
from experiments.settings.changes import Change, differences

PATIENCE_SECONDS = 10.0
"""Seconds that an arm has to end by itself, once it is asked to."""
ADDED_SETS = ("+ablation=", "+trick=")
"""Overrides that add a set of settings: what a run that is resumed has taken from it is in its folder."""
_TIED = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execvp(sys.argv[1], sys.argv[1:])"
"""Program that becomes another one, which the kernel kills when its parent dies (PR_SET_PDEATHSIG)."""


@dataclass
class Arm:
    """One job of a sweep; picklable, as engines run it on other machines.

    Attributes:
        name: Its overrides, as in ``agent=mcts seed=0``.
        command: Words of the command that runs it.
        folder: Its run folder.
        threads: Its share of the threads, None where its settings name a number.
        settings: All its settings, as plain values.
        place: Working folder of the command.
        environment: Environment variables, where the machine that runs it has none of that name.
    """

    name: str
    command: list[str]
    folder: Path
    threads: int | None
    settings: dict[str, Any] = field(default_factory=dict, repr=False)
    place: Path = field(default_factory=Path.cwd, repr=False)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False, compare=False)

    @property
    def log(self) -> Path:
        """Log file of the job's output, beside its folder."""
        return self.folder.with_name(self.folder.name + ".log")

    @property
    def resumes(self) -> bool:
        """Whether it may go on with what is in its folder."""
        return bool(self.settings.get("resume"))

    def words(self) -> list[str]:
        """The command as it is to be run at this moment: what has begun goes on.

        An engine may run an arm twice, on another machine, when the first one is lost.
        """
        if not is_begun(self.folder):  # cut off before it wrote anything: there is nothing to go on from
            return [word for word in self.command if not word.startswith("resume=")]
        words = [word for word in self.command if not word.startswith(ADDED_SETS)]
        return words if self.resumes or "resume" not in self.settings else [*words, "resume=true"]

    def changes(self) -> list[Change]:
        """Settings in which the run in its folder differs; none where the file there cannot be read."""
        from experiments.run_folder.readers import read_yaml

        try:
            return differences(read_yaml(self.folder / CONFIG), self.settings)
        except UserError:  # which its process will say
            return []

    def is_done(self) -> bool:
        """Whether it resumes a run that is finished; one whose files cannot be read is not."""
        from experiments.run_folder.readers import read_json, read_yaml

        if not self.resumes or not self.has_results():
            return False
        try:
            read_json(self.folder / RESULTS)
            read_yaml(self.folder / CONFIG)
        except UserError:
            return False
        return True

    def has_results(self) -> bool:
        """Whether its results are in its folder, as this machine sees it."""
        return (self.folder / RESULTS).exists()

    def start(self) -> subprocess.Popen[bytes]:
        """Starts its process, which does not outlive this one (Linux)."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        tied = [sys.executable, "-c", _TIED] if sys.platform == "linux" else []
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                [*tied, *self.words()],
                cwd=self.place,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=surroundings(self.threads, {**self.environment, **os.environ}),
            )
        return self._process

    def __call__(self) -> int:
        """Runs to its end; gives the exit code, negative for the signal that ended it."""
        return self.start().wait()

    def checkpoint(self) -> Any:
        """What submitit queues again when the time of a job is up or its machine is wanted back.

        The arm has some seconds to save what it has done.
        """
        import submitit

        if self._process is not None:
            end(self._process)
        return submitit.helpers.DelayedSubmission(replace(self, _process=None))

    def last_line(self) -> str:
        """The fault that it reported, else the last line it printed; empty where there is none."""
        try:
            text = self.log.read_text(errors="replace")
        except OSError:
            return ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        faults = [line for line in lines if line.startswith("error: ")]
        return (faults or lines or [""])[-1]


def end(*processes: subprocess.Popen[bytes]) -> None:
    """End processes that may save something before they do."""
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def surroundings(threads: int | None, found: Mapping[str, str]) -> dict[str, str]:
    """The environment of an arm: its share of the threads, unless the caller has said how many."""
    environment = dict(found)
    if threads is not None:
        for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
            environment.setdefault(name, str(threads))
    return environment
