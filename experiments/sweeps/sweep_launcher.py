"""Launchers of sweeps, by which Hydra hands arms to an engine: this machine, SLURM or Ray.

Every arm is the command that one would type for it alone, with its share of the threads and a log file. A
failing arm, even one that the kernel kills, does not stop the others and is reported at the end; with
``resume=true`` and the same ``hydra.sweep.dir`` those that are done are not run again.
"""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, filter_overrides, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from align3d.console.typed_settings import in_hydras_grammar, setting
from align3d.errors import UserError
from durable.file_lock import hold_here_alone
from experiments.run_folder.names import is_begun
from experiments.run_folder.run_lock import held_folder
from experiments.sweeps.arm_engines import ArmEngine, LocalProcesses
from experiments.sweeps.sweep_arm import Arm
from experiments.sweeps.sweep_loop import SWEEP_DIR, run_arms

FAILED_EXIT = 1
OF_THE_SWEEP = (
    "hydra.mode",
    "hydra.run.",
    "hydra.sweep",
    "hydra.launcher",
    "hydra/launcher",
    "hydra/sweeper",
)
"""Overrides of Hydra's own settings that are the sweep's, not the arms'."""


class SweepLauncher(Launcher):
    """Adapter of `run_arms` to Hydra, for every engine.

    Args:
        jobs: Number of arms that run at a time.
        every: Seconds between lines that say how far the running arms are; 0 for none.
    """

    def __init__(self, jobs: int, every: float) -> None:
        self.jobs, self.every = jobs, every
        self.config: DictConfig | None = None
        self.context: HydraContext | None = None

    @abstractmethod
    def engine(self, root: Path) -> ArmEngine:
        """The engine that runs the arms of a sweep in a folder."""

    @abstractmethod
    def threads(self, arms: int) -> int:
        """The threads of each of so many arms."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Takes what Hydra gives; the task is not used, as every arm is a process that finds it itself."""
        self.context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs all arms; leaves with exit code 1 if one of them failed.

        Raises:
            UserError: Arms cannot be run with these settings, or would overwrite earlier ones.
        """
        if not isinstance(self.jobs, int) or self.jobs < 1:
            raise UserError(
                f"hydra.launcher.jobs={self.jobs}: expected a whole number from 1, arms at a time"
            )
        setup_globals()
        threads = self.threads(len(job_overrides))
        arms = [
            self._arm(list(overrides), initial_job_idx + place, threads)
            for place, overrides in enumerate(job_overrides)
        ]
        assert self.config is not None
        _shorten(arms)
        root = Path(self.config.hydra.sweep.dir).absolute()
        with held_folder(setting(SWEEP_DIR, root), root):  # two sweeps would write into the same logs
            _check_folders(arms, root)
            engine = self.engine(root)
            if engine.spreads:
                check_locks(arms, root)
            failed = run_arms(arms, engine, self.every, root)
        if failed:
            sys.exit(FAILED_EXIT)
        return [_done(list(overrides)) for overrides in job_overrides]

    def _arm(self, overrides: list[str], number: int, threads: int) -> Arm:
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
            threads=threads if OmegaConf.select(config, "threads") is None else None,
            settings=_plain(config),
        )


class ArmsLauncher(SweepLauncher):
    """Launcher of processes on this machine.

    Args:
        jobs: Number of arms that run at a time, each with its share of the cores.
        every: Seconds between lines on the running arms; 0 for none.
    """

    def engine(self, root: Path) -> ArmEngine:
        """Processes of this one."""
        return LocalProcesses(self.jobs)

    def threads(self, arms: int) -> int:
        """An equal share of the cores."""
        from align3d.pipeline import default_workers

        return max(1, default_workers() // min(self.jobs, arms))


class SubmititLauncher(SweepLauncher):
    """Launcher of jobs of SLURM, or of processes in their place (``cluster=local``).

    Args:
        cluster: ``slurm`` or ``local``.
        jobs: Number of arms that run at a time.
        every: Seconds between lines on the running arms; 0 for none.
        cpus: Cores of an arm.
        gpus: GPUs of an arm.
        minutes: Time that a job may take; one that needs longer goes on in another.
        requeues: Times that it may.
        parameters: Further ones of submitit, such as {slurm_partition: gpu, mem_gb: 32}.
    """

    def __init__(
        self,
        cluster: str,
        jobs: int,
        every: float,
        cpus: int,
        gpus: int,
        minutes: int,
        requeues: int,
        parameters: Mapping[str, Any],
    ) -> None:
        super().__init__(jobs, every)
        self.cluster, self.cpus, self.requeues = cluster, cpus, requeues
        own = {"cpus_per_task": cpus, "timeout_min": minutes, **({"gpus_per_node": gpus} if gpus else {})}
        self.parameters = {**own, **{str(name): value for name, value in parameters.items()}}

    def engine(self, root: Path) -> ArmEngine:
        """The queue."""
        from experiments.sweeps.submitit_engine import SubmititJobs

        return SubmititJobs(self.cluster, root, self.jobs, self.requeues, self.parameters)

    def threads(self, arms: int) -> int:
        """Those of the job."""
        return self.cpus


class RayLauncher(SweepLauncher):
    """Launcher of tasks of Ray: here, or on the cluster that RAY_ADDRESS names.

    Args:
        jobs: Number of arms that Ray has at a time, those that wait for a machine included.
        every: Seconds between lines on the running arms; 0 for none.
        cpus: Cores of an arm.
        gpus: GPUs of an arm, or a share of one.
        memory_gb: Memory that Ray sets aside for an arm; None: it does not look at it.
        retries: Times that an arm is run again whose machine is lost.
    """

    def __init__(
        self, jobs: int, every: float, cpus: int, gpus: float, memory_gb: float | None, retries: int
    ) -> None:
        super().__init__(jobs, every)
        self.cpus, self.gpus, self.memory_gb, self.retries = cpus, gpus, memory_gb, retries

    def engine(self, root: Path) -> ArmEngine:
        """The cluster."""
        from experiments.sweeps.ray_engine import RayTasks

        return RayTasks(self.jobs, self.cpus, self.gpus, self.memory_gb, self.retries)

    def threads(self, arms: int) -> int:
        """Those of the task."""
        return self.cpus


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


def check_locks(arms: Sequence[Arm], root: Path) -> None:
    """Refuse folders whose locks other machines do not see: a warm-up would be trained by several at once.

    Raises:
        UserError: The locks of a file system hold on one machine alone.
    """
    from align3d.pipeline import default_cache

    folders = {setting(SWEEP_DIR, root): root}
    for arm in arms:
        cache = Path(arm.settings.get("cache") or default_cache()).expanduser()
        folders[f"cache={cache}"] = cache
    for named, folder in folders.items():
        if option := hold_here_alone(folder):
            raise UserError(
                f"{named}: its locks hold on each machine alone (mounted with {option}); mount it without, "
                "or name a folder on another file system"
            )


def _done(overrides: list[str]) -> JobReturn:
    result = JobReturn(overrides=overrides, status=JobStatus.COMPLETED)
    result.return_value = None
    return result
