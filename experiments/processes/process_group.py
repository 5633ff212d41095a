"""Processes that train one run together: what they exchange, and one line where one of them is gone.

Process 0 leads: it alone has the run folder, and its word counts where all have to agree. Objects and figures
go over gloo on the CPU, gradients and embeddings over NCCL where the model is on GPUs. A process alone
exchanges nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import TorchElasticEnvironment
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor

from align3d.errors import UserError
from experiments.processes.launch import Launch

WAIT = timedelta(minutes=30)
"""Longest time that an exchange waits for the slowest process."""
PATIENCE = timedelta(hours=24)
"""Longest time at a meeting point, before which a process may build a dataset or wait for a lock."""
POLL_SECONDS = 0.05
_SIGNS = ("gloo", "nccl", "connection closed", "connection re", "broken pipe", "tcpstore", "socket")
"""Words of an error by which a library says that it cannot reach another process."""

T = TypeVar("T")


class PeerError(UserError):
    """Another process of the run has ended, or has not answered in time."""


class Processes:
    """The processes of a run.

    Args:
        launch: Place of this one among them; alone by default.

    Attributes:
        rank: Number of this process.
        count: Number of processes that train.
        together: Whether they are in touch: from the start to `leave`.

    Raises:
        PeerError: The others cannot be reached.
    """

    def __init__(self, launch: Launch | None = None) -> None:
        self.launch = Launch() if launch is None else launch
        self.rank, self.count = self.launch.rank, self.launch.processes
        self.together = False
        self._meetings = 0
        if self.count > 1:
            self._join()

    @property
    def leads(self) -> bool:
        """Whether this is the process that has the run folder."""
        return self.rank == 0

    def _join(self) -> None:
        with self.watched():
            store, _, _ = next(dist.rendezvous("env://", self.rank, self.count, timeout=WAIT))
            self._store = dist.PrefixStore("align3d", store)
            self.together = True
            self.meet()
            dist.init_process_group(
                "gloo",
                store=dist.PrefixStore("gloo", store),
                rank=self.rank,
                world_size=self.count,
                timeout=WAIT,
            )

    def leave(self) -> None:
        """Part from the others, when there is nothing left to do together."""
        if self.together:
            self.meet()
            dist.destroy_process_group()
            self.together = False

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Say in one line that another process is gone, whatever library has noticed it.

        Raises:
            PeerError: An exchange within has failed.
        """
        try:
            yield
        except RuntimeError as error:
            told = " ".join(str(error).split())
            if self.count == 1 or not (
                isinstance(error, dist.DistError) or any(sign in told.lower() for sign in _SIGNS)
            ):
                raise
            raise PeerError(
                f"one of the {self.count} processes of this run has ended, or has not answered for "
                f"{WAIT.seconds // 60} minutes ({told[-100:]})"
            ) from error

    def meet(self) -> None:
        """Wait until all processes are here, however long the slowest takes.

        Raises:
            PeerError: One of them is not here after `PATIENCE`.
        """
        if not self.together:
            return
        self._meetings += 1
        places = [f"meeting {self._meetings}/{rank}" for rank in range(self.count)]
        end = time.monotonic() + PATIENCE.total_seconds()
        with self.watched():
            self._store.set(places[self.rank], "here")
            while not self._store.check(places):
                if time.monotonic() > end:
                    raise PeerError(f"one of the {self.count} processes of this run is not here: {PATIENCE}")
                time.sleep(POLL_SECONDS)

    def share(self, value: T) -> T:
        """What the leader gives, which all get; what the others give does not count."""
        if not self.together:
            return value
        box = [value]
        with self.watched():
            dist.broadcast_object_list(box, src=0)
        return box[0]

    def everyone(self, value: T) -> list[T]:
        """What each process gives, in the order of their ranks."""
        if not self.together:
            return [value]
        found: list[Any] = [None] * self.count
        with self.watched():
            dist.all_gather_object(found, value)
        return found

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """Means over the processes of values that have the same names in all of them."""
        if not self.together:
            return dict(values)
        sums = torch.tensor(list(values.values()), dtype=torch.float64)
        with self.watched():
            dist.all_reduce(sums)
        return dict(zip(values, (sums / self.count).tolist(), strict=True))

    def check_equal(self, what: str, mine: Mapping[str, Any], advice: str) -> None:
        """Refuse to go on where the processes differ in what has to be equal.

        Args:
            what: What has to be, such as ``data``.
            mine: What it is here, by name.
            advice: Likely fix.

        Raises:
            UserError: It is not the same everywhere; in all processes.
        """
        leader, *others = self.everyone(dict(mine))
        for rank, other in enumerate(others, 1):
            for name in dict.fromkeys([*leader, *other]):
                one, two = str(leader.get(name, "none")), str(other.get(name, "none"))
                if one != two:
                    raise UserError(
                        f"{what} of the {self.count} processes differ: {name} is {one:.60} in process 0 and "
                        f"{two:.60} in process {rank}; {advice}"
                    )

    def fabric(self, device: torch.device) -> Fabric:
        """Lightning's Fabric on a device, with gradients averaged over the processes.

        Args:
            device: Where this process trains.
        """
        if not self.together:
            return Fabric(accelerator=device.type, devices=1 if device.index is None else [device.index])
        with self.watched():
            self._group = dist.new_group(backend="nccl" if device.type == "cuda" else "gloo", timeout=WAIT)
            fabric = Fabric(
                accelerator=device.type,
                devices=self.launch.local_processes,
                num_nodes=self.launch.machines,
                strategy=DDPStrategy(process_group=self._group),
                plugins=TorchElasticEnvironment(),
            )
            fabric.launch()
        return fabric

    def gather(self, mine: Tensor) -> Tensor:
        """Tensors ``[...]`` of all processes, ``[count, ...]``; gradients flow back to each.

        The gradient of what a process gives is the sum over the losses of all processes.

        Args:
            mine: Of this process, on the device of `fabric`.
        """
        with self.watched():
            gathered: Tensor = _Gather.apply(mine, self._group)
        return gathered


class _Gather(torch.autograd.Function):
    """Tensors of all processes ``[count, ...]``, with the gradients of all their losses.

    PyTorch's own function for this is deprecated, and its successor newer than the oldest version we take.
    """

    @staticmethod
    def forward(ctx: Any, mine: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        gathered = mine.new_empty((dist.get_world_size(group), *mine.shape))
        dist.all_gather(list(gathered.unbind()), mine.contiguous(), group)
        return gathered

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=ctx.group)
        return total[dist.get_rank(ctx.group)], None
