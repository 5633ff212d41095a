"""TorchRL adapter: batched, tensors in and out, on the model's device.

Not re-exported by ``envs``, as TorchRL takes seconds to import.
"""

from __future__ import annotations

from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import Binary, Bounded, Categorical, Composite, Unbounded
from torchrl.envs import EnvBase

from envs.functional import EnvConfig
from envs.observation import BOUND
from envs.protocol import FunctionalEnv, Source, reward_names
from envs.runner import EpisodeRunner
from envs.sources.demo import given_or_demo


class CalibrationTorchRLEnv(EnvBase):
    """Environment of ``B`` rows, batch size ``[B]``.

    Entries of its tensordicts: ``observation`` float32 ``[B, O]``; ``action_mask`` bool ``[B, A]``, as
    ``MaskedCategorical`` and the transform ``ActionMask`` want it; ``action`` i64 ``[B]``; ``reward``,
    ``terminated``, ``truncated`` and ``done`` (either) ``[B, 1]``; and in ``info`` the potential, the parts
    of the reward (see ``CalibrationCore.reward``; zero after a reset) and ``legal``, ``[B, 1]`` each. An
    illegal action is a no-op that costs a step. An episode in which there is nothing to do ends with its
    first step, never with the reset.

    Args:
        batch: Number of rows, ``B``.
        core: The decision process; a demonstration one if left out together with ``episodes``.
        episodes: Source of the episodes.
        config: Settings of the demonstration core.
        generator: Generator that the episodes are drawn with; one with a random seed if left out.
            ``set_seed`` seeds it.
        rows: Runner of ``B`` rows, made by the caller, instead of core, episodes and config.

    Raises:
        ValueError: A core without episodes or the other way round, settings for a core that has its own, or
            fewer than one row.
    """

    def __init__(
        self,
        batch: int,
        core: FunctionalEnv | None = None,
        episodes: Source | None = None,
        config: EnvConfig | None = None,
        generator: torch.Generator | None = None,
        rows: EpisodeRunner | None = None,
    ) -> None:
        if rows is None:
            rows = EpisodeRunner(*given_or_demo(core, episodes, config), batch)
        elif (core, episodes, config) != (None, None, None) or rows.count != batch:
            raise ValueError(f"rows: expected {batch} rows, and no core, episodes or config beside them")
        core = rows.core
        super().__init__(device=rows.device, batch_size=torch.Size([batch]))
        self.core = core
        self.episodes = rows.episodes
        self.rows = rows
        self._info_names = (*(["potential"] if hasattr(core, "potential") else []), *reward_names(core))
        if generator is None:
            generator = torch.Generator()
            generator.seed()
        self.generator = generator
        shape, kwargs = (batch, 1), {"device": rows.device}
        info: dict[str, Any] = {
            name: Unbounded(shape, dtype=torch.float32, **kwargs) for name in self._info_names
        }
        info["legal"] = Binary(1, shape, dtype=torch.bool, **kwargs)
        self.observation_spec = Composite(
            observation=Bounded(-BOUND, BOUND, (batch, core.observation_size), dtype=torch.float32, **kwargs),
            action_mask=Binary(core.actions, (batch, core.actions), dtype=torch.bool, **kwargs),
            info=Composite(info, shape=(batch,), **kwargs),
            shape=(batch,),
            **kwargs,
        )
        self.action_spec = Categorical(core.actions, (batch,), dtype=torch.int64, **kwargs)
        self.reward_spec = Unbounded(shape, dtype=torch.float32, **kwargs)
        ends = {name: Binary(1, shape, dtype=torch.bool, **kwargs) for name in ("terminated", "truncated")}
        self.full_done_spec = Composite(
            **ends, done=Binary(1, shape, dtype=torch.bool, **kwargs), shape=(batch,), **kwargs
        )

    def _reset(self, tensordict: TensorDictBase | None = None, **kwargs: Any) -> TensorDictBase:
        chosen = None if tensordict is None else tensordict.get("_reset", None)
        if chosen is None:
            self.rows.reset(self.generator)
        else:
            self.rows.reset_rows(chosen.view(self.batch_size), self.generator)
        no = torch.zeros(self.batch_size, dtype=torch.bool, device=self.device)
        zero = no.float()
        parts = dict.fromkeys(self._info_names, zero)
        ends = dict.fromkeys(("terminated", "truncated", "done"), no.unsqueeze(-1))
        return self._seen(parts | {"legal": ~no}).update({name: end.clone() for name, end in ends.items()})

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        active = tensordict.get("_step", None)
        step = self.rows.step(
            tensordict.get("action"), None if active is None else active.view(self.batch_size)
        )
        terminated, truncated = step.terminated.unsqueeze(-1), step.truncated.unsqueeze(-1)
        parts = {name: part for name, part in step.parts.items() if name in self._info_names}
        return self._seen(parts | {"legal": step.legal}).update(
            {
                "reward": step.reward.unsqueeze(-1),
                "terminated": terminated.clone(),
                "truncated": truncated.clone(),
                "done": terminated | truncated,
            }
        )

    def _set_seed(self, seed: int | None) -> None:
        if seed is None:
            self.generator.seed()
        else:
            self.generator.manual_seed(seed)

    def _seen(self, values: dict[str, Tensor]) -> TensorDictBase:
        values |= self.rows.state_info()
        info = {name: value.unsqueeze(-1).clone() for name, value in values.items()}
        return TensorDict(
            {
                "observation": self.rows.observation(),
                "action_mask": self.rows.mask(),
                "info": TensorDict(info, batch_size=self.batch_size, device=self.device),
            },
            batch_size=self.batch_size,
            device=self.device,
        )
