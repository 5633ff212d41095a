"""Episodes: queries, their candidates under a frozen HAF, and the right answers.

``build_episode`` puts rows together from an attention state; queries come from an ``envs.protocol.Source``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from tensordict import TensorClass
from torch import Tensor
from torch.nn.functional import one_hot

from envs.attention.episode_cache import CANDIDATE_AXES, EpisodeCache, Evaluation
from envs.observation import observe_library
from models import AttentionState
from models.haf import CANDIDATE_FIELDS

if TYPE_CHECKING:
    from envs.attention.evaluator import Evaluator


class Episode(TensorClass):
    """Data of ``B`` rows, batch size ``[B]``, fixed from the first move to the last.

    Candidates stand in the order of the initial score, best first, wherever the true ones are.

    Attributes:
        attention: HAF's logits, values and so on, candidates reordered; ``attention.paired`` i64 ``[B]`` is
            the candidate that the ``association`` family calibrates. The largest logit of each map is 0.
        cache: Further quantities that are computed once per episode.
        initial: Scores and statistics before any change.
        positives: True candidates, bool ``[B, C]``; all false where no label is known.
        candidates: Place of each candidate in the attention state that was given, i64 ``[B, C]``.
        group: Membership of tokens in groups, float ``[B, K, T]``, 0 or 1; padding is in none.
        group_mask: Groups that have a token, bool ``[B, K]``.
        region_mask: Regions that the paired candidate has, bool ``[B, R]``.
        library: What is observed of the library, ``[B, F]``; see ``envs.observation.observe_library``.
    """

    attention: AttentionState
    cache: EpisodeCache
    initial: Evaluation
    positives: Tensor
    candidates: Tensor
    group: Tensor
    group_mask: Tensor
    region_mask: Tensor
    library: Tensor

    @property
    def group_share(self) -> Tensor:
        """Weights that average the tokens of each group, ``[B, K, T]``: ``group`` over the group's size."""
        return self.group / self.group.sum(-1, keepdim=True).clamp_min(1)


def token_groups(mask: Tensor, groups: int) -> Tensor:
    """Split each row's real tokens into contiguous groups of nearly equal size, by position.

    Args:
        mask: Real tokens, bool ``[B, T]``.
        groups: Number of groups, ``K``; a row with fewer tokens fills the first groups with one token each.

    Returns:
        The group of each token, i64 ``[B, T]``, and ``K`` for padding.
    """
    count = mask.sum(-1, keepdim=True)
    place = mask.cumsum(-1) - 1
    group = place * count.clamp(max=groups) // count.clamp(min=1)
    return torch.where(mask, group, groups)


@torch.no_grad()
def build_episode(
    evaluator: Evaluator,
    attention: AttentionState,
    positives: Tensor | None = None,
    *,
    paired: Tensor | None = None,
    group: Tensor | None = None,
) -> Episode:
    """Put episodes together.

    Args:
        evaluator: Evaluator of the frozen HAF.
        attention: State from ``HierarchicalAttentionFusion.attend``, ``C`` candidates in any order.
        positives: True candidates, bool ``[B, C]``, in the order of ``attention``. None, or a row without
            any, has no labels: its reward is minus the price of the divergence.
        paired: Candidate whose association is calibrated, i64 ``[B]``, in the order of ``attention``. None is
            the one that ranks first, as at query time. The paper pairs the text with its true shape: then the
            effect of an ``association`` shows which one that is, so an agent that has to act without labels
            should not be taught on such episodes.
        group: Group of each token, i64 ``[B, T]``, ``K`` for none; None splits by position
            (``token_groups``).

    Returns:
        The episodes, batch ``[B]``.

    Raises:
        ValueError: Shapes that do not fit, or a number out of range.
    """
    dims = evaluator.dims
    batch, count = attention.global_score.shape
    device = attention.global_score.device
    if positives is None:
        positives = torch.zeros(batch, count, dtype=torch.bool, device=device)
    _check(positives, (batch, count), 1, "positives", torch.bool)
    if paired is not None:
        _check(paired, (batch,), count - 1, "paired", torch.int64)
    if group is None:
        group = token_groups(attention.mask, dims.token_groups)
    _check(group, tuple(attention.mask.shape), dims.token_groups, "group", torch.int64)

    attention = attention.clone(recurse=False)
    attention.logits = attention.logits.clone()
    cache, score, token_scores = evaluator.prepare(attention)
    # Of equal scores the last comes first: who lists true shapes first gains nothing by it.
    candidates = score.argsort(dim=1, stable=True).flip(1)
    rows = torch.arange(batch, device=device)
    for name in CANDIDATE_FIELDS:
        attention.set(name, _in_order(attention.get(name), candidates, 1))
    for name, axis in CANDIDATE_AXES.items():
        cache.set(name, _in_order(cache.get(name), candidates, axis))
    score, token_scores = (_in_order(tensor, candidates, 1) for tensor in (score, token_scores))
    if paired is None:
        attention.paired = torch.zeros_like(rows)
    else:
        attention.paired = (candidates == paired.unsqueeze(1)).int().argmax(1)

    member = one_hot(group, dims.token_groups + 1)[..., :-1] * attention.mask.unsqueeze(-1)  # [B, T, K]
    regions = one_hot(attention.region[rows, attention.paired], dims.regions + 1)  # [B, N, R + 1]
    return Episode(
        attention=attention,
        cache=cache,
        initial=evaluator.first(attention, cache, score, token_scores),
        positives=positives.gather(1, candidates),
        candidates=candidates,
        group=member.transpose(1, 2).to(score),
        group_mask=member.any(1),
        region_mask=regions[..., :-1].any(1),
        library=observe_library(attention, score, evaluator.leading),
        batch_size=[batch],
    )


def _in_order(tensor: Tensor, candidates: Tensor, axis: int) -> Tensor:
    """Candidates along an axis in another order, ``[B, C]``, the same for all that comes between.

    Contiguous: indexing keeps the strides of what it is given, and every step would have to copy it.
    """
    if axis == 2:
        between = torch.arange(tensor.shape[1], device=tensor.device)[:, None]
        rows = torch.arange(len(tensor), device=tensor.device)[:, None, None]
        return tensor[rows, between, candidates.unsqueeze(1)].contiguous()
    rows = torch.arange(len(tensor), device=tensor.device).unsqueeze(1)
    return tensor[rows, candidates].contiguous()


def _check(tensor: Tensor, shape: tuple[int, ...], largest: int, name: str, dtype: torch.dtype) -> None:
    if tensor.shape != shape or tensor.dtype != dtype:
        raise ValueError(f"{name}: expected {dtype} {list(shape)}, got {tensor.dtype} {list(tensor.shape)}")
    if dtype != torch.bool and bool(((tensor < 0) | (tensor > largest)).any()):
        raise ValueError(f"{name}: expected numbers from 0 to {largest}, got {tensor.tolist()}")
