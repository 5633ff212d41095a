"""Reward terms: potentials of a state whose weighted differences are the reward.

``R = α·ΔR_internal + (1−α)·ΔR_external − λ·ΔKL(calibrated ‖ initial)`` (3DAlign-DAER's hybrid reward; α, λ
and the exact terms are ours), and another weighted difference for every further term. As every part is a
difference between two states, an episode's return is the whole improvement, whatever the way there, and an
action that is undone has gained nothing.

To add a term, decorate a function of an episode and a state with ``register_reward`` in a file of your own,
and give it a weight in ``RewardConfig.weights``.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from models.losses import multi_positive_cross_entropy

if TYPE_CHECKING:
    from envs.episode import Episode
    from envs.functional import EnvState

    RewardTerm = Callable[[Episode, EnvState], Tensor]
    """The potential of ``B`` rows, ``[B]``, in a unit of its own."""

REWARD_TERMS: dict[str, RewardTerm] = {}
"""All terms by name, in the order in which they are listed."""

RESERVED = ("return", "weighted", "acted")
"""Names that results have for something else."""


def register_reward(name: str) -> Callable[[RewardTerm], RewardTerm]:
    """Decorator that makes a term of the reward known by a name.

    A term is a function of the episode and a state, both of batch size ``[B]``, that returns a float ``[B]``.
    Of the state it may read everything but ``potentials``. A term that depends on labels should return 0 in
    rows without any, where ``episode.positives`` is false throughout.

    Args:
        name: Name of the term in settings, ``info``, TensorBoard and reports.

    Raises:
        ValueError: The name is no identifier, is reserved, or is that of another term.
    """
    if not name.isidentifier() or name in RESERVED:
        raise ValueError(f"reward term {name!r}: expected an identifier other than {', '.join(RESERVED)}")

    def decorate(term: RewardTerm) -> RewardTerm:
        there = REWARD_TERMS.get(name, term)
        if (there.__module__, there.__qualname__) != (term.__module__, term.__qualname__):
            raise ValueError(
                f"reward term {name!r}: taken by {there.__module__}.{there.__qualname__}; choose another name"
            )
        REWARD_TERMS[name] = term
        return term

    return decorate


@dataclass(frozen=True)
class RewardConfig:
    """Weights of the terms of the reward.

    Attributes:
        alpha: Share α of the internal reward; the external one has the rest.
        kl_weight: λ, price of a nat of divergence from the initial attention.
        weights: Weights of further registered terms by name, such as {margin: 0.1}; a negative one is a
            price, and null is for none.
    """

    alpha: float = 0.0
    kl_weight: float = 0.005
    weights: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.alpha <= 1.0:
            raise ValueError(
                f"reward.alpha={self.alpha}: must lie in [0, 1], 1 being the internal reward alone"
            )
        if not 0.0 <= self.kl_weight < float("inf"):
            raise ValueError(f"reward.kl_weight={self.kl_weight}: must be 0 or more, and finite")
        for name, weight in (self.weights or {}).items():
            _check_own_weight(name, weight)

    @property
    def term_weights(self) -> dict[str, float]:
        """Weight of every term of the reward by its name, with its sign."""
        built_in = {"internal": self.alpha, "external": 1 - self.alpha, "kl": -self.kl_weight}
        return {**built_in, **(self.weights or {})}


def _check_own_weight(name: str, weight: float) -> None:
    """Check the weight of a term of one's own.

    Raises:
        ValueError: There is no such term, another setting has its weight, or the weight is not finite.
    """
    setting = f"reward.weights.{name}={weight}"
    if name in BUILT_IN:
        raise ValueError(f"{setting}: a built-in term, weighted by {BUILT_IN[name]}")
    if name not in REWARD_TERMS:
        own = [term for term in REWARD_TERMS if term not in BUILT_IN]
        close = difflib.get_close_matches(name, own, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "import what registers it: imports=[my_module]"
        known = f" (registered: {', '.join(own)})" if own else ""
        raise ValueError(f"{setting}: no such reward term; {hint}{known}")
    if not math.isfinite(weight):
        raise ValueError(f"{setting}: must be finite")


def internal_potential(score: Tensor, positives: Tensor) -> Tensor:
    """Minus the contrastive loss of the true candidates among all, ``[B]``, at most 0.

    Args:
        score: Logits of the candidates, ``[B, C]``.
        positives: True candidates, bool ``[B, C]``; a row without one gets 0.
    """
    return -multi_positive_cross_entropy(score, positives)


def external_potential(score: Tensor, positives: Tensor) -> Tensor:
    """Retrieval: the reciprocal rank of the best true candidate, ``[B]``, in (0, 1].

    A wrong candidate with the same score ranks before it, so that scores that say nothing earn nothing. Other
    true candidates do not count against it. A row without a true candidate gets 0.

    Args:
        score: Logits of the candidates, ``[B, C]``.
        positives: True candidates, bool ``[B, C]``.
    """
    best = score.masked_fill(~positives, float("-inf")).amax(-1, keepdim=True)
    ahead = ((score >= best) & ~positives).sum(-1)
    return positives.any(-1) / (1 + ahead)


@register_reward("internal")
def _internal(episode: Episode, state: EnvState) -> Tensor:
    return internal_potential(state.evaluation.score, episode.positives)


@register_reward("external")
def _external(episode: Episode, state: EnvState) -> Tensor:
    return external_potential(state.evaluation.score, episode.positives)


@register_reward("kl")
def _kl(episode: Episode, state: EnvState) -> Tensor:
    return state.kl


BUILT_IN = {"internal": "reward.alpha", "external": "reward.alpha", "kl": "reward.kl_weight"}
"""The terms that every reward has, and the settings that weigh them."""
