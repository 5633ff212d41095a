"""Launcher of sweeps that runs each arm as a process, several at a time: Hydra's ``hydra/launcher: arms``.

Every arm is the command that one would type for it alone, with its share of the threads and a log file. A
failing arm, even one that the kernel kills, does not stop the others and is reported at the end; with
``resume=true`` and the same ``hydra.sweep.dir`` those that are done are not run again.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, filter_overrides, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from align3d.console.terminal import say
from align3d.console.typed_settings import in_hydras_grammar, setting
from align3d.errors import UserError
from experiments.run_folder.names import CONFIG, FINAL, RERANKED, RESULTS, is_begun
from experiments.run_folder.run_lock import held_folder
from experiments.settings.changes import Change, differences

SWEEP_DIR = "hydra.sweep.dir"
FAILED_EXIT = 1
INTERRUPTED_EXIT = 130
POLL_SECONDS = 0.2
PATIENCE_SECONDS = 10.0
#: Overrides that add a set of settings: what a run that is resumed has taken from it is in its folder.
ADDED_SETS = ("+ablation=", "+trick=")
#: Overrides of Hydra's own settings that are the sweep's, not the arms'.
OF_THE_SWEEP = (
    "hydra.mode",
    "hydra.run.",
    "hydra.sweep",
    "hydra.launcher",
    "hydra/launcher",
    "hydra/sweeper",
)


@dataclass
class Arm:
    """One job of a sweep.

    Attributes:
        name: Its overrides, as in ``agent=mcts seed=0``.
        command: Words of the command that runs it.
        folder: Its run folder.
        threads: Its share of the threads, None where its settings name a number.
        settings: All its settings, as plain values.
    """

    name: str
    command: list[str]
    folder: Path
    threads: int | None
    settings: dict[str, Any] = field(default_factory=dict, repr=False)
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    started: float = 0.0

    @property
    def log(self) -> Path:
        """Log file of the job's output, beside its folder."""
        return self.folder.with_name(self.folder.name + ".log")

    @property
    def resumes(self) -> bool:
        """Whether it may go on with what is in its folder."""
        return bool(self.settings.get("resume"))

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

        if not self.resumes or not (self.folder / RESULTS).exists():
            return False
        try:
            read_json(self.folder / RESULTS)
            read_yaml(self.folder / CONFIG)
        except UserError:
            return False
        return True

    def start(self) -> None:
        """Starts its process."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self.started = time.monotonic()
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment(self.threads),
            )

    def last_line(self) -> str:
        """The fault that it reported, else the last line it printed; empty where there is none."""
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        faults = [line for line in lines if line.startswith("error: ")]
        return (faults or lines or [""])[-1]


class ArmsLauncher(Launcher):
    """Adapter of `run_arms` to Hydra.

    Args:
        jobs: Number of arms that run at a time.
        every: Seconds between lines that say how far the running arms are; 0 for none.
    """

    def __init__(self, jobs: int = 1, every: float = 60.0) -> None:
        self.jobs, self.every = jobs, every
        self.config: DictConfig | None = None
        self.context: HydraContext | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Takes what Hydra gives; the task is not used, as every arm is a process that finds it itself."""
        self.context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs all arms; leaves with exit code 1 if one of them failed.

        Raises:
            UserError: Arms cannot be run with these settings, or would overwrite earlier ones.
        """
        from align3d.pipeline import default_workers

        if not isinstance(self.jobs, int) or self.jobs < 1:
            raise UserError(
                f"hydra.launcher.jobs={self.jobs}: expected a whole number from 1, arms at a time"
            )
        setup_globals()
        at_a_time = min(self.jobs, len(job_overrides))
        share = max(1, default_workers() // at_a_time)
        arms = [
            self._arm(list(overrides), initial_job_idx + place, share)
            for place, overrides in enumerate(job_overrides)
        ]
        assert self.config is not None
        _shorten(arms)
        root = Path(self.config.hydra.sweep.dir)
        with held_folder(setting(SWEEP_DIR, root), root):  # two sweeps would write into the same logs
            _check_folders(arms, root)
            failed = run_arms(arms, self.jobs, self.every, root)
        if failed:
            sys.exit(FAILED_EXIT)
        return [_done(list(overrides)) for overrides in job_overrides]

    def _arm(self, overrides: list[str], number: int, share: int) -> Arm:
        assert self.config is not None
        assert self.context is not None
        config = self.context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        HydraConfig.instance().set_config(config)  # the folder's name asks Hydra for the job's number
        folder = (Path(str(config.hydra.sweep.dir)) / str(config.hydra.sweep.subdir)).absolute()
        own = [text for text in self.config.hydra.overrides.hydra if not text.startswith(OF_THE_SWEEP)]
        return Arm(
            name=" ".join(filter_overrides(overrides)),
            command=[
                *program(),
                *overrides,
                *own,
                "hydra.mode=RUN",
                f"hydra.run.dir={in_hydras_grammar(folder)}",
            ],
            folder=folder,
            threads=share if OmegaConf.select(config, "threads") is None else None,
            settings=_plain(config),
        )


def run_arms(arms: Sequence[Arm], jobs: int, every: float, root: Path) -> list[Arm]:
    """Run arms, ``jobs`` at a time, and say when each starts and ends.

    Args:
        arms: Arms to run, in this order.
        jobs: Number of arms that run at a time.
        every: Seconds between lines on the running arms; 0 for none.
        root: Folder of the sweep, for the closing line.

    Returns:
        Those that failed.
    """
    waiting, running, failed = list(arms), [], []  # type: ignore[var-annotated]
    number = {id(arm): f"[{place}/{len(arms)}] {arm.name}" for place, arm in enumerate(arms, 1)}
    shown_at = time.monotonic()
    with _ended_with_us(running, root):
        while waiting or running:
            while waiting and len(running) < jobs:
                arm = waiting.pop(0)
                if arm.is_done():
                    _say(f"{number[id(arm)]}: done before, {_figures(arm)}")
                    continue
                arm.start()
                running.append(arm)
                _say(f"{number[id(arm)]}: started")
            for arm in list(running):
                assert arm.process is not None
                code = arm.process.poll()
                if code is None:
                    continue
                running.remove(arm)
                took = _duration(time.monotonic() - arm.started)
                if code == 0:
                    _say(f"{number[id(arm)]}: done in {took}, {_figures(arm)}")
                else:
                    failed.append(arm)
                    _say(f"{number[id(arm)]}: failed after {took}")
            if every and time.monotonic() - shown_at > every:
                shown_at = time.monotonic()
                for arm in running:
                    _say(f"{number[id(arm)]}: {arm.last_line() or 'running'}")
            time.sleep(POLL_SECONDS if running else 0)
    report = shlex.join(["python", "-m", "experiments.report", str(root)])
    _say(f"{len(arms) - len(failed)} of {len(arms)} runs are done: {report}")
    for arm in failed:
        _say(f"error: {arm.name}: {_cause(arm)} ({arm.log})")
    return failed


def environment(threads: int | None) -> dict[str, str]:
    """The environment of an arm: its share of the threads, unless the caller has said how many."""
    found = dict(os.environ)
    if threads is not None:
        for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
            found.setdefault(name, str(threads))
    return found


def program() -> list[str]:
    """The words that start this program again."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None and spec.name:
        return [sys.executable, "-m", spec.name.removesuffix(".__main__")]
    return [sys.executable, sys.argv[0]]


def _plain(config: DictConfig) -> dict[str, Any]:
    """The settings of an arm, without Hydra's own, as `experiments.settings.schema` writes them down."""
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    plain = OmegaConf.to_container(own, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _shorten(arms: Sequence[Arm]) -> None:
    """Takes out of the arms' names what all of them share."""
    names = [arm.name.split() for arm in arms]
    shared = set(names[0]).intersection(*names) if len(arms) > 1 else set()
    for arm, parts in zip(arms, names, strict=True):
        arm.name = " ".join(part for part in parts if part not in shared)


def _check_folders(arms: Sequence[Arm], root: Path) -> None:
    folders = {arm.folder for arm in arms}
    if len(folders) < len(arms):
        raise UserError(
            f"hydra.sweep.subdir: {len(arms)} runs, but {len(folders)} different folder names; "
            "put ${hydra:job.num} into it"
        )
    there = [arm for arm in arms if is_begun(arm.folder) and not arm.resumes]
    if there:
        raise UserError(
            f"{setting(SWEEP_DIR, root)}: {len(there)} of these runs are there already; add resume=true to "
            "go on with those that were cut off, or name another folder"
        )
    changes = {
        setting(change.name, change.new): setting(change.name, change.old)
        for arm in arms
        if arm.resumes and is_begun(arm.folder)
        for change in arm.changes()
    }
    if changes:
        raise UserError(
            f"{setting(SWEEP_DIR, root)}: a resumed sweep keeps its settings, {' '.join(changes.values())} "
            f"(typed: {' '.join(changes)}); type them as they were, or name another folder"
        )
    for arm in arms:  # one that was cut off before it wrote anything has nothing to go on from
        if arm.resumes:
            needless = ADDED_SETS if is_begun(arm.folder) else ("resume=",)
            arm.command = [word for word in arm.command if not word.startswith(needless)]


def _figures(arm: Arm) -> str:
    """Result of a job, in half a line."""
    from experiments.run_folder.readers import read_json

    metrics: dict[str, Any] = read_json(arm.folder / RESULTS).get("metrics", {})
    name = "text_to_shape/recall@1"
    if name not in metrics.get(FINAL, {}) or name not in metrics.get(RERANKED, {}):
        return str(arm.folder)
    final, before = 100 * metrics[FINAL][name], 100 * metrics[RERANKED][name]
    return f"R@1 text → shape {final:.1f} (without calibration {before:.1f})"


def _cause(arm: Arm) -> str:
    assert arm.process is not None
    code = arm.process.returncode
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}, {arm.last_line().removeprefix('error: ') or 'nothing printed'}"


def _done(overrides: list[str]) -> JobReturn:
    result = JobReturn(overrides=overrides, status=JobStatus.COMPLETED)
    result.return_value = None
    return result


@contextmanager
def _ended_with_us(running: list[Arm], root: Path) -> Iterator[None]:
    """End the running arms when this process is interrupted or terminated."""

    def end(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except KeyboardInterrupt:
        _say(f"interrupted; the same command with resume=true {setting(SWEEP_DIR, root)} goes on from here")
        sys.exit(INTERRUPTED_EXIT)
    finally:
        signal.signal(signal.SIGTERM, before)
        for arm in running:
            assert arm.process is not None
            arm.process.terminate()
        for arm in running:
            assert arm.process is not None
            try:
                arm.process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                arm.process.kill()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _say(text: str) -> None:
    say(text, error=True)
