"""Engine that gives arms to SLURM, or to processes that stand for it, by the package submitit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from align3d.errors import UserError
from experiments.sweeps.arm_engines import Ended
from experiments.sweeps.sweep_arm import Arm

FOLDER = ".submitit"
"""Folder in that of the sweep, for what submitit writes."""


class SubmittedArm:
    """An arm that is a job of submitit's."""

    def __init__(self, job: Any) -> None:
        self.job = job

    def poll(self) -> Ended | None:
        """How it ended; None while it waits or runs."""
        if not self.job.done():
            return None
        if (error := self.job.exception()) is not None:
            return Ended(lost=f"job {self.job.job_id} left no result: {str(error).splitlines()[0]}")
        return Ended(int(self.job.result()))


class SubmititJobs:
    """Engine of a cluster under SLURM, or of this machine in its place.

    The arms go into the queue at once, as one array. A job whose time is up, or whose machine is wanted back,
    is queued again and goes on from its last checkpoint.

    Args:
        cluster: ``slurm`` or ``local``.
        folder: Folder of the sweep.
        jobs: Arms that run at a time.
        requeues: Times that a job whose time is up is queued again.
        parameters: What ``submitit.AutoExecutor.update_parameters`` takes.

    Raises:
        UserError: The package or SLURM is missing, or it does not know a parameter.
    """

    def __init__(
        self, cluster: str, folder: Path, jobs: int, requeues: int, parameters: Mapping[str, Any]
    ) -> None:
        try:
            import submitit
        except ImportError as error:
            raise UserError(
                f"hydra/launcher=submitit_{cluster} needs submitit: pip install 'align3d[cluster]'"
            ) from error
        self.spreads = cluster != "local"
        self.most = 10_000 if self.spreads else jobs  # SLURM's queue holds those that wait
        given = {f"{cluster}_max_num_timeout": requeues} if self.spreads else {}
        more = {"slurm_array_parallelism": jobs} if self.spreads else {}
        try:
            self._executor = submitit.AutoExecutor(folder=folder / FOLDER / "%j", cluster=cluster, **given)
            self._executor.update_parameters(**parameters, **more)
        except (RuntimeError, NameError, ValueError, AssertionError) as error:
            said = " ".join(str(error).split())
            raise UserError(f"hydra/launcher=submitit_{cluster}: {said}") from error
        self._taken: list[Any] = []

    def start(self, arms: Sequence[Arm]) -> list[SubmittedArm]:
        """Put arms into the queue.

        Raises:
            UserError: The queue refuses them.
        """
        from submitit.core.utils import FailedJobError

        try:
            jobs = self._executor.submit_array(list(arms))
        except FailedJobError as error:
            raise UserError(f"the queue takes no job: {' '.join(str(error).split())[-200:]}") from error
        self._taken += jobs
        return [SubmittedArm(job) for job in jobs]

    def close(self) -> None:
        """Take those that wait or run out of the queue."""
        for job in self._taken:
            if not job.done():
                job.cancel(check=False)
