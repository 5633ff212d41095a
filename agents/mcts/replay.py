"""Replay buffer that the network learns from: TorchRL's, sampled by an explicit generator.

Import it only when it is needed, as TorchRL takes seconds to import.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
from torchrl.data.replay_buffers.samplers import RandomSampler

logging.getLogger("torchrl").setLevel(logging.WARNING)  # it logs every storage that is made

SMALL = 0.01
"""Number added to the standard deviations of observations, which are of the order of 1."""


class GeneratorSampler(RandomSampler):
    """Sampler that draws on the generator's device, so that a CPU generator serves a buffer on any device."""

    def sample(self, storage: Any, batch_size: int) -> tuple[Tensor, dict[str, Any]]:
        """Indices ``[batch_size]``, with replacement."""
        assert self._rng is not None
        index = torch.randint(0, len(storage), (batch_size,), generator=self._rng, device=self._rng.device)
        return index.to(storage.device), {}


class Replay:
    """Ring buffer of the last ``capacity`` decisions.

    A row has ``observation`` ``[O]``, the ``mask`` of legal actions bool ``[A]`` and the ``policy`` ``[A]``.

    Args:
        capacity: Number of decisions that are kept.
        observation_size: Length of an observation, ``O``.
        actions: Number of actions, ``A``.
        device: Device of the storage; None is the CPU.
    """

    def __init__(
        self,
        capacity: int,
        observation_size: int,
        actions: int,
        device: torch.device | None = None,
    ) -> None:
        self.capacity = capacity
        self.device = device or torch.device("cpu")
        self._empty = TensorDict(
            {
                "observation": torch.zeros(observation_size),
                "mask": torch.zeros(actions, dtype=torch.bool),
                "policy": torch.zeros(actions),
            },
            device=self.device,
        )
        self._buffer = TensorDictReplayBuffer(
            storage=LazyTensorStorage(capacity, device=self.device),
            sampler=GeneratorSampler(),
        )

    def __len__(self) -> int:
        return len(self._buffer)

    def add(self, which: Tensor, **rows: Tensor) -> None:
        """Add those of the rows ``[B, ...]`` that ``which``, bool ``[B]``, picks; the oldest make room."""
        count = min(int(which.sum()), self.capacity)
        if count == 0:
            return
        new = self._empty.expand(count).clone()
        for name, value in rows.items():
            new[name] = value[which][-count:].to(new[name].dtype)
        self._buffer.extend(new)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the observations, ``[O]`` each; there must be at least one.

        ``SMALL`` is added to the deviation, so that a number that hardly varies is not blown up.
        """
        observation = self._kept()["observation"]
        return observation.mean(0), observation.std(0, correction=0) + SMALL

    def sample(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw ``count`` rows, with replacement."""
        self._buffer.set_rng(generator)
        drawn = self._buffer.sample(count)
        return {name: drawn[name] for name in self._empty.keys()}  # noqa: SIM118 - of a tensordict

    def to(self, device: torch.device) -> Replay:
        """A copy on another device."""
        observation, actions = (len(self._empty[name]) for name in ("observation", "mask"))
        moved = Replay(self.capacity, observation, actions, device)
        moved.restore({name: value.to(device) for name, value in self.tensors().items()})
        return moved

    def tensors(self) -> dict[str, Tensor]:
        """Rows ``[n, ...]`` by name, and ``next``, the place of the next row."""
        kept = {name: self._kept()[name] for name in self._empty.keys()}  # noqa: SIM118
        return kept | {"next": torch.tensor(self._buffer.writer.state_dict()["_cursor"])}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Restore what ``tensors`` returned, into an empty buffer of the same capacity.

        Raises:
            KeyError: A tensor is missing.
            RuntimeError: The tensors have different lengths.
        """
        rows = {name: tensors[name] for name in self._empty.keys()}  # noqa: SIM118 - of a tensordict
        if len(rows["policy"]) > 0:
            self._buffer.extend(TensorDict(rows, batch_size=[len(rows["policy"])], device=self.device))
        state = self._buffer.writer.state_dict()
        self._buffer.writer.load_state_dict(state | {"_cursor": int(tensors["next"])})

    def _kept(self) -> TensorDict:
        return self._buffer[:] if len(self) else self._empty.expand(0)
