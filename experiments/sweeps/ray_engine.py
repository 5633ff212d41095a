"""Engine that runs arms as tasks of Ray: on this machine, or on the cluster that ``RAY_ADDRESS`` names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from align3d.building.ray_cluster import connect, is_remote
from experiments.sweeps.arm_engines import Ended
from experiments.sweeps.sweep_arm import Arm


class RayTask:
    """An arm that is a task of Ray's."""

    def __init__(self, ray: Any, task: Any) -> None:
        self._ray, self.task = ray, task

    def poll(self) -> Ended | None:
        """How it ended; None while it waits or runs."""
        if not self._ray.wait([self.task], timeout=0)[0]:
            return None
        try:
            return Ended(int(self._ray.get(self.task)))
        except self._ray.exceptions.RayError as error:
            said = str(error).strip().splitlines()
            return Ended(lost=f"{type(error).__name__}: {said[-1] if said else 'lost by Ray'}")


class RayTasks:
    """Engine of a Ray cluster, or of a Ray of its own on this machine.

    An arm whose worker or machine is lost is run again by Ray, and goes on from its last checkpoint.

    Args:
        jobs: Arms that Ray has at a time, those that wait for a machine included.
        cpus: Cores of an arm.
        gpus: GPUs of an arm, or a share of one.
        memory_gb: Memory that Ray sets aside for an arm; None: it does not look at it.
        retries: Times that a lost arm is run again.

    Raises:
        UserError: The package is missing, or there is no cluster at that address.
    """

    def __init__(self, jobs: int, cpus: float, gpus: float, memory_gb: float | None, retries: int) -> None:
        self._ray = connect("hydra/launcher=ray")
        self.most, self.spreads = jobs, is_remote()
        memory = {} if memory_gb is None else {"memory": int(memory_gb * 2**30)}
        self._run = self._ray.remote(run_arm).options(
            num_cpus=cpus, num_gpus=gpus, max_retries=retries, name="arm", **memory
        )
        self._taken: list[RayTask] = []

    def start(self, arms: Sequence[Arm]) -> list[RayTask]:
        """Give arms to Ray, with the environment that they were typed in."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        tasks = [RayTask(self._ray, self._run.remote(replace(arm, environment=own))) for arm in arms]
        self._taken += tasks
        return tasks

    def close(self) -> None:
        """End those that wait or run; a Ray that was started here ends as well."""
        for one in self._taken:
            if one.poll() is None:
                self._ray.cancel(one.task, force=True)
        self._ray.shutdown()


def run_arm(arm: Arm) -> int:
    """Run an arm to its end, in a worker of Ray's."""
    return arm()
