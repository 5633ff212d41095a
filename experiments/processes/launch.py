"""Place of this process among those of its run, as ``torchrun`` says it in the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from align3d.errors import UserError

PROCESSES = "WORLD_SIZE"
NUMBERS = ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT")
ADDRESS = "MASTER_ADDR"


@dataclass(frozen=True)
class Launch:
    """Place of this process among those of its run.

    Attributes:
        rank: Number of this process from 0, over all machines; process 0 leads.
        local_rank: Number of this process on its machine, from 0.
        processes: Number of processes of the run.
        local_processes: Number of them on each machine.
    """

    rank: int = 0
    local_rank: int = 0
    processes: int = 1
    local_processes: int = 1

    @property
    def machines(self) -> int:
        """Number of machines that the processes are on."""
        return self.processes // self.local_processes

    def program(self, alone: list[str]) -> list[str]:
        """Words that start the run again on all its processes.

        Args:
            alone: Words that start it as one process, such as ``python -m experiments.run``.
        """
        if self.processes == 1:
            return alone
        machines = [f"--nnodes={self.machines}"] if self.machines > 1 else []
        return ["torchrun", *machines, f"--nproc-per-node={self.local_processes}", *alone[1:]]


def launched(environment: Mapping[str, str] = os.environ) -> Launch:
    """The place that the environment gives this process; that of a process alone where it says nothing.

    Raises:
        UserError: It speaks of several processes, and does not say all that is needed of them.
    """
    processes = _number(PROCESSES, environment.get(PROCESSES) or "1")
    if processes <= 1:
        return Launch()
    said = f"{PROCESSES}={processes}"
    advice = (
        f"start all processes of a run with torchrun --nproc-per-node={processes} -m experiments.run, or "
        f"unset {PROCESSES} for a run of one process"
    )
    for name in (*NUMBERS, ADDRESS):
        if not environment.get(name):
            raise UserError(f"{said}: {name} is not set; {advice}")
    rank, local_rank, local, _ = (_number(name, environment[name]) for name in NUMBERS)
    if rank >= processes:
        raise UserError(f"RANK={rank}: expected a number below {said}; {advice}")
    if not 1 <= local <= processes or local_rank >= local:
        raise UserError(
            f"LOCAL_RANK={local_rank} LOCAL_WORLD_SIZE={local}: expected a rank below the number of "
            f"processes on this machine, at most {said}; {advice}"
        )
    if processes % local:
        raise UserError(
            f"{said} LOCAL_WORLD_SIZE={local}: expected as many processes on each machine; start each with "
            "the same --nproc-per-node"
        )
    return Launch(rank, local_rank, processes, local)


def _number(name: str, text: str) -> int:
    if not text.isdecimal():
        raise UserError(f"{name}={text}: expected a whole number, as torchrun sets it; unset it otherwise")
    return int(text)
