"""Decision process of attention calibration: pure functions over a batch, on any device.

All adapters are made of this one. A row is one query. Its state is what has been changed about the attention
so far (``Calibration``), together with what HAF made of it, which is computed once per transition and serves
reward and observation alike.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce

import torch
from tensordict import TensorClass
from torch import Tensor

from envs.actions.catalogue import ActionCatalogue
from envs.attention.dimensions import BACKENDS, AttentionDims, Backend, Invalidation
from envs.attention.episode_cache import Evaluation
from envs.attention.evaluator import Evaluator
from envs.attention.kernels.threads import without_pytorch
from envs.episode import Episode, build_episode
from envs.observation import observation_names, observe
from envs.reward import BUILT_IN, REWARD_TERMS, RewardConfig
from models import AttentionState, Calibration, HierarchicalAttentionFusion

DEFAULT_FAMILIES = ("level", "temperature", "token", "association", "stop")


MAX_LIMIT = 20.0
"""Beyond it exponentials of what has been changed leave the range of a float32."""


@dataclass(frozen=True)
class EnvConfig:
    """Settings of the decision process.

    Attributes:
        families: Families of actions, any subset of ``envs.actions.families.FAMILIES`` and ``stop``.
        horizon: Number of steps until an episode is truncated.
        token_groups: Number of groups that a query's tokens are split into, ``K``.
        limit: Largest change of an entry of the calibration, a logarithm or a strength.
        steps: Sizes of steps by family, where they differ from the family's own.
        leading: Number of candidates whose maps and probabilities are observed.
        backend: Backend that computes steps: ``auto``, ``torch`` (any device) or ``numba`` (faster on a CPU).
        reward: Weights of the terms of the reward.
    """

    families: tuple[str, ...] = DEFAULT_FAMILIES
    horizon: int = 5
    token_groups: int = 6
    limit: float = 2.0
    steps: Mapping[str, float] = field(default_factory=dict)
    leading: int = 4
    backend: Backend = "auto"
    reward: RewardConfig = field(default_factory=RewardConfig)

    def __post_init__(self) -> None:
        for name, default in (("horizon", 5), ("token_groups", 6), ("leading", 4)):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: must be 1 or more; the default is {default}")
        if self.backend not in BACKENDS:
            raise ValueError(f"backend={self.backend!r}: expected one of {', '.join(BACKENDS)}")
        if not 0 < self.limit <= MAX_LIMIT:
            raise ValueError(
                f"limit={self.limit}: must be positive and at most {MAX_LIMIT:g}; it is a logarithm, "
                "and 2 is a factor of 7.4"
            )


class EnvState(TensorClass):
    """State of ``B`` episodes, batch size ``[B]``.

    Attributes:
        calibration: Changes of the attention so far.
        evaluation: Result of HAF under the calibration.
        step: Number of steps taken, i64 ``[B]``.
        stopped: Rows that were ended by ``stop``, or have no action left, bool ``[B]``.
        action_mask: Actions that may be taken next, bool ``[B, A]``.
        kl: Divergence from the initial attention, in nats, ``[B]``.
        potentials: Terms of the reward, in the order of ``CalibrationCore.reward_weights``, ``[B, P]``.
    """

    calibration: Calibration
    evaluation: Evaluation
    step: Tensor
    stopped: Tensor
    action_mask: Tensor
    kl: Tensor
    potentials: Tensor


class CalibrationCore:
    """Attention calibration as a decision process.

    Args:
        haf: The frozen model, asked with the weights that it has at the time of a call.
        config: Settings of the process.
        backend: Backend that computes steps, ``"auto"``, ``"torch"`` or ``"numba"``, see ``Evaluator``; None
            for the choice of the settings.

    Attributes:
        catalogue: The actions.
        observation_names: Meaning of each entry of an observation.
        reward_weights: Weight of every term of the reward by its name, ``P`` of them.
        evaluator: Asks HAF.

    Raises:
        ValueError: No family of actions, an unknown family or backend, or a HAF that fuses in another way
            than steps do.
    """

    def __init__(
        self,
        haf: HierarchicalAttentionFusion,
        config: EnvConfig | None = None,
        *,
        backend: Backend | None = None,
    ) -> None:
        self.config = config or EnvConfig()
        self.haf = haf
        dims = AttentionDims(tuple(haf.level_sizes), haf.heads, haf.regions, self.config.token_groups)
        self.catalogue = ActionCatalogue(self.config.families, dims, self.config.limit, self.config.steps)
        self.evaluator = Evaluator(haf, dims, self.config.leading, backend or self.config.backend)
        self.observation_names = observation_names(dims, self.config.leading)
        self.reward_weights = self.config.reward.term_weights

    @property
    def actions(self) -> int:
        """Number of actions, ``A``."""
        return len(self.catalogue)

    @property
    def stop(self) -> int | None:
        """Index of the action that ends an episode, None without one."""
        return self.catalogue.stop

    @property
    def horizon(self) -> int:
        """Steps until an episode is truncated."""
        return self.config.horizon

    @property
    def action_names(self) -> list[str]:
        """The actions in words."""
        return self.catalogue.names

    @property
    def observation_size(self) -> int:
        """Length of an observation, ``O``."""
        return len(self.observation_names)

    @property
    def reward_names(self) -> tuple[str, ...]:
        """Parts of the reward by name, see ``reward``."""
        names = self.reward_weights
        return (*(f"reward/{name}" for name in names), *(f"reward/weighted/{name}" for name in names))

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return self.haf.head.device

    def episode(
        self,
        attention: AttentionState,
        positives: Tensor | None = None,
        *,
        paired: Tensor | None = None,
        group: Tensor | None = None,
    ) -> Episode:
        """Put episodes together; see ``envs.episode.build_episode``."""
        return build_episode(self.evaluator, attention, positives, paired=paired, group=group)

    @torch.no_grad()
    def initial(self, episode: Episode) -> EnvState:
        """The state before the first action: nothing has been changed."""
        attention = episode.attention
        batch, tokens = attention.mask.shape
        dims = self.catalogue.dims
        calibration = Calibration.identity(
            batch,
            tokens=tokens,
            levels=dims.levels,
            heads=dims.heads,
            regions=dims.regions,
            device=attention.mask.device,
        )
        action_mask = self.catalogue.mask(calibration, episode)
        kl = torch.zeros_like(episode.initial.score[:, 0])
        state = EnvState(
            calibration=calibration,
            evaluation=episode.initial.clone(),
            step=torch.zeros_like(attention.paired),
            stopped=~action_mask.any(-1),
            action_mask=action_mask,
            kl=kl,
            potentials=kl.unsqueeze(-1),
            batch_size=[batch],
        )
        state.potentials = self._potentials(episode, state)
        return state

    def transition(
        self, episode: Episode, state: EnvState, action: Tensor, active: Tensor | None = None
    ) -> EnvState:
        """The next states after one action per row. Rows that are done stay as they are.

        Args:
            episode: Batch ``[B]``.
            state: Batch ``[B]``; stays as it is.
            action: Number of the action, i64 ``[B]``.
            active: Rows that take their action, bool ``[B]``, or None for all; the others stay as they are
                and cost nothing.

        Raises:
            ValueError: An action of an active row that is not done is out of range or masked.
        """
        going = ~self.done(state) if active is None else active & ~self.done(state)
        inside = (action >= 0) & (action < self.actions)
        legal = state.action_mask.gather(1, action.clamp(0, self.actions - 1).unsqueeze(1)).squeeze(1)
        wrong = going & ~(inside & legal)
        if bool(wrong.any()):
            row = int(wrong.nonzero()[0, 0])
            number = int(action[row])
            name = f" ({self.catalogue.names[number]})" if bool(inside[row]) else ""
            raise ValueError(
                f"action {number}{name} is not legal in row {row}; choose one that the mask allows"
            )
        return self._advance(episode, state, action, going)

    def transition_unchecked(
        self, episode: Episode, state: EnvState, action: Tensor, active: Tensor
    ) -> EnvState:
        """The same as ``transition`` for actions that are known to be legal in all active rows."""
        return self._advance(episode, state, action, active & ~self.done(state))

    @torch.no_grad()
    @without_pytorch()
    def _advance(self, episode: Episode, state: EnvState, action: Tensor, active: Tensor) -> EnvState:
        """The next states after legal actions of active rows, bool ``[B]``, that are not done."""
        chosen = torch.where(active, action, -1)
        stop = self.catalogue.stop
        stops = torch.zeros_like(active) if stop is None else chosen == stop
        calibration = self.catalogue.apply(state.calibration, episode, chosen)
        reach = self.catalogue.reach.to(action.device)[chosen.clamp_min(0)]
        reach = torch.where(active, reach, int(Invalidation.POOLING))
        evaluation = self.evaluator.update(
            episode.attention, episode.cache, state.evaluation, state.calibration, calibration, reach
        )
        # Rounding must not make a reward out of a row in which nothing has happened.
        still = ~active | stops
        evaluation.score = torch.where(still.unsqueeze(-1), state.evaluation.score, evaluation.score)
        kl = self.evaluator.divergence(episode.attention, evaluation, calibration)
        action_mask = self.catalogue.mask(calibration, episode)
        next_state = EnvState(
            calibration=calibration,
            evaluation=evaluation,
            step=state.step + active,
            stopped=state.stopped | stops | ~action_mask.any(-1),
            action_mask=action_mask,
            kl=torch.where(still, state.kl, kl),
            potentials=state.potentials,
            batch_size=state.batch_size,
        )
        potentials = self._potentials(episode, next_state)
        next_state.potentials = torch.where(still.unsqueeze(-1), state.potentials, potentials)
        return next_state

    def reward(
        self, episode: Episode, state: EnvState, action: Tensor, next_state: EnvState
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The reward of a transition, ``[B]``, and its parts.

        Returns:
            The reward, and two parts of each term. For ``kl`` these are ``reward/kl``, its change by itself,
            unweighted and in its own unit, ``[B]``, and ``reward/weighted/kl``, the same with its weight and
            sign. The weighted parts add up to the reward.
        """
        change = (next_state.potentials - state.potentials).unbind(-1)
        raw = dict(zip(self.reward_weights, change, strict=True))
        parts = {f"reward/{name}": change for name, change in raw.items()}
        parts |= {
            f"reward/weighted/{name}": weight * raw[name] for name, weight in self.reward_weights.items()
        }
        return self.potential(next_state) - self.potential(state), parts

    def potential(self, state: EnvState) -> Tensor:
        """Weighted sum of the terms, whose differences rewards are, ``[B]``."""
        return self._weighted_sum(state.potentials)

    @torch.no_grad()
    def gains(self, episode: Episode, state: EnvState, positives: Tensor) -> dict[str, Tensor]:
        """Returns of calibrations by labels that they were made without.

        Args:
            episode: Batch ``[B]``; its own labels are not looked at.
            state: Where the episode stands now.
            positives: True candidates, bool ``[B, C]``, in the order of the episode.

        Returns:
            The ``return`` since the initial state, and the change of each term by name, ``[B]`` each.
        """
        labeled = episode.clone(recurse=False)
        labeled.positives = positives.to(episode.positives.device)
        change = self._potentials(labeled, state) - self.initial(labeled).potentials
        return {
            "return": self._weighted_sum(change),
            **dict(zip(self.reward_weights, change.unbind(-1), strict=True)),
        }

    @without_pytorch()
    def observation(self, episode: Episode, state: EnvState) -> Tensor:
        """Observation of an agent, float32 ``[B, O]``; see ``observation_names``."""
        steps_left = 1 - state.step / self.config.horizon
        return observe(
            episode.attention,
            episode.group,
            episode.library,
            episode.initial,
            state.evaluation,
            state.calibration,
            state.kl,
            steps_left,
            leading=self.config.leading,
            limit=self.config.limit,
        )

    @without_pytorch()
    def mask(self, episode: Episode, state: EnvState) -> Tensor:
        """Legal actions, bool ``[B, A]``; a tensor of its own, which may be changed."""
        return state.action_mask.clone()

    def terminal(self, state: EnvState) -> Tensor:
        """Ended by its own action, bool ``[B]``."""
        return state.stopped

    def truncated(self, state: EnvState) -> Tensor:
        """Cut off at the horizon, and not ended, bool ``[B]``."""
        return (state.step >= self.config.horizon) & ~state.stopped

    def done(self, state: EnvState) -> Tensor:
        """Over, by either cause, bool ``[B]``."""
        return (state.step >= self.config.horizon) | state.stopped

    def _weighted_sum(self, potentials: Tensor) -> Tensor:
        """The terms ``[B, P]`` times their weights, added up, ``[B]``."""
        columns = zip(self.reward_weights.values(), potentials.unbind(-1), strict=True)
        return reduce(operator.add, (weight * column for weight, column in columns))

    def _potentials(self, episode: Episode, state: EnvState) -> Tensor:
        """The terms of the reward, ``[B, P]``.

        Raises:
            ValueError: A term of one's own has another shape than ``[B]``, or is not finite.
        """
        found = [REWARD_TERMS[name](episode, state) for name in self.reward_weights]
        for name, term in zip(self.reward_weights, found, strict=True):
            if name in BUILT_IN:
                continue
            if term.shape != state.kl.shape:
                raise ValueError(
                    f"reward term {name!r}: expected {list(state.kl.shape)}, one number per row, "
                    f"got {list(term.shape)}"
                )
            if not bool(term.isfinite().all()):
                raise ValueError(f"reward term {name!r}: expected finite numbers, got {term.tolist()}")
        return torch.stack([term.to(state.kl) for term in found], dim=-1)
