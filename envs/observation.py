"""Observation of an agent: a vector of fixed size about the attention, the scores and the calibration so far.

Nothing in it says which candidate is right. Where candidates are kept apart at all they stand in the order
of their initial score, and no label is ever read (`observe` is not given the positives).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from envs.attention.dimensions import AttentionDims
from envs.attention.episode_cache import Evaluation
from models import AttentionState, Calibration
from models.attention_statistics import STATISTICS
from models.memory import CONTEXT

LEAST_SPREAD = 1e-6
"""Standard deviation below which values count as equal."""

BOUND = 4.0
"""Observations are clamped to this; most entries lie within [0, 1] or [-1, 1] by themselves."""

SCORE_FEATURES = (
    "score entropy",
    "score top probability",
    "score margin of the first over the second",
    "score margin of the first over the mean",
    "score spread",
    "score entropy before",
)

LIBRARY_FEATURES = (
    *CONTEXT,
    "recall's first is the first",
    "recall of its first over its second",
    "spread of recall",
    "spread of hubness",
    "correlation of recall and score",
    "correlation of hubness and score",
)


def observation_names(dims: AttentionDims, leading: int) -> list[str]:
    """Names of the entries of an observation, in order.

    Args:
        dims: What there is to act on.
        leading: Candidates whose maps and probabilities are shown.
    """
    levels, heads = range(1, dims.levels + 1), range(1, dims.heads + 1)
    groups, regions = range(1, dims.token_groups + 1), range(1, dims.regions + 1)
    names = [f"{what} of level {i} head {h}" for i in levels for h in heads for what in STATISTICS]
    names += [f"gate of level {i}" for i in levels]
    names += [f"weight of token group {k}" for k in groups]
    names += ["entropy of the token weights"]
    names += list(SCORE_FEATURES)
    names += [f"probability of candidate {c}" for c in range(1, leading + 1)]
    names += [f"{what} of candidate {c}" for what in ("recall", "hubness") for c in range(1, leading + 1)]
    names += list(LIBRARY_FEATURES)
    names += ["change of memory", "change of hubness"]
    names += [f"change of level {i}" for i in levels]
    names += [f"change of temperature of level {i}" for i in levels]
    names += [f"change of level {i} head {h}" for i in levels for h in heads]
    names += [f"change of token group {k}" for k in groups]
    names += [f"change of associations of token group {k}" for k in groups]
    names += [f"change of associations of region {r}" for r in regions]
    names += [f"token group {k} exists" for k in groups]
    names += ["divergence from the initial attention", "share of steps left"]
    return names


def observe(
    attention: AttentionState,
    group: Tensor,
    library: Tensor,
    initial: Evaluation,
    evaluation: Evaluation,
    calibration: Calibration,
    divergence: Tensor,
    steps_left: Tensor,
    *,
    leading: int,
    limit: float,
) -> Tensor:
    """Observations, float32 `[B, O]`, finite, within `BOUND`; `observation_names` says what is where.

    Args:
        attention: Of the episode, batch `[B]`.
        group: Membership of tokens in groups, `[B, K, T]`.
        library: From `observe_library`, `[B, F]`.
        initial: Evaluation before any change.
        evaluation: Evaluation now.
        calibration: What has been changed so far.
        divergence: KL from the initial attention, `[B]`.
        steps_left: Share of the horizon that is left, `[B]`.
        leading: Candidates whose maps and probabilities are shown.
        limit: Largest change of an entry, the unit in which changes are shown.
    """
    real = attention.mask.unsqueeze(-1)  # [B, T, 1]
    gates = (attention.gate_logits + calibration.level.unsqueeze(1)).softmax(-1) * real
    weights = (attention.token_logits + calibration.token).softmax(-1)  # [B, T]
    share = group / group.sum(-1, keepdim=True).clamp_min(1)  # [B, K, T]
    associations = share @ calibration.association  # [B, K, R]
    probability = torch.nn.functional.pad(evaluation.score.softmax(-1), (0, leading))[:, :leading]
    parts = [
        evaluation.statistics.mean(1).flatten(1),
        gates.sum(1) / real.sum(1).clamp_min(1),
        (group @ weights.unsqueeze(-1)).squeeze(-1),
        _entropy(weights).unsqueeze(-1),
        _score_features(evaluation.score, initial.score),
        probability,
        library,
        calibration.memory.unsqueeze(-1) / limit,
        calibration.hubness.unsqueeze(-1) / limit,
        calibration.level / limit,
        calibration.temperature / limit,
        calibration.head.flatten(1) / limit,
        (share @ calibration.token.unsqueeze(-1)).squeeze(-1) / limit,
        associations.mean(2) / limit,
        associations.mean(1) / limit,
        group.amax(-1),
        _squash(divergence).unsqueeze(-1),
        steps_left.unsqueeze(-1),
    ]
    return torch.cat([part.float() for part in parts], dim=-1).clamp(-BOUND, BOUND)


def observe_library(attention: AttentionState, score: Tensor, leading: int) -> Tensor:
    """Features observed of the library: recall and hubness of the leading candidates, and `LIBRARY_FEATURES`.

    No change of the attention changes it, so it is worked out once per episode.

    Args:
        attention: Of the episode, candidates in its order, batch `[B]`.
        score: Before any change, `[B, C]`.
        leading: Candidates whose recall and hubness are shown, in units of their spread over all candidates.

    Returns:
        `[B, 2 * leading + len(LIBRARY_FEATURES)]`, within `BOUND`.
    """
    recall, recall_spread = _standardized(attention.recall)
    hubness, hubness_spread = _standardized(attention.hubness)
    standard_score = _standardized(score)[0]
    first, second = recall.topk(min(2, recall.shape[1]), dim=-1).values[:, [0, -1]].unbind(-1)
    features = [
        (recall[:, 0] == first) & (recall_spread > LEAST_SPREAD),
        _squash(first - second),
        _squash(recall_spread),
        _squash(hubness_spread),
        (recall * standard_score).mean(1),
        (hubness * standard_score).mean(1),
    ]
    shown = [torch.nn.functional.pad(part, (0, leading))[:, :leading] for part in (recall, hubness)]
    columns = torch.stack([feature.to(score) for feature in features], dim=-1)
    return torch.cat([*shown, attention.context, columns], dim=-1).clamp(-BOUND, BOUND)


def _standardized(values: Tensor) -> tuple[Tensor, Tensor]:
    """Values `[B, C]` less their mean, over their standard deviation, and that, `[B]`; 0 if all are equal."""
    centered = values - values.mean(1, keepdim=True)
    spread = centered.square().mean(1, keepdim=True).sqrt()
    standard = torch.where(spread > LEAST_SPREAD, centered / spread.clamp_min(LEAST_SPREAD), 0.0)
    return standard, spread.squeeze(1)


def _score_features(score: Tensor, before: Tensor) -> Tensor:
    """`SCORE_FEATURES` of logits `[B, C]`: independent of the candidates' order, `[B, 6]`."""
    probability = score.softmax(-1)
    first, second = score.topk(min(2, score.shape[1]), dim=-1).values[:, [0, -1]].unbind(-1)
    features = [
        _entropy(probability),
        probability.amax(-1),
        _squash(first - second),
        _squash(first - score.mean(-1)),
        _squash(score.std(-1, correction=0)),
        _entropy(before.softmax(-1)),
    ]
    return torch.stack(features, dim=-1)


def _entropy(probability: Tensor) -> Tensor:
    """Entropy over the last axis, relative to that of a uniform distribution over all of it."""
    entropy = -(probability * probability.clamp_min(1e-12).log()).sum(-1)
    return entropy / math.log(max(probability.shape[-1], 2))


def _squash(value: Tensor) -> Tensor:
    """From [0, ∞) to [0, 1)."""
    return value / (1 + value)
