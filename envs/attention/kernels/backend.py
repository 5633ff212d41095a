"""Incremental update on a CPU: as `envs.attention.incremental`, with its passes over memory compiled."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compiling import single_threaded_products
from envs.attention.dimensions import AttentionDims
from envs.attention.episode_cache import EpisodeCache, Evaluation
from envs.attention.kernels.arrays import UpdateArrays
from envs.attention.kernels.associations import MovedTokens, update_paired
from envs.attention.kernels.candidates import score_all_candidates
from envs.attention.kernels.statistics import renew_statistics
from envs.attention.kernels.threads import spread
from envs.attention.kernels.token_scores import ScoreArrays, score_token
from models import AttentionState, Calibration, HierarchicalAttentionFusion
from models.attention_statistics import has_agreement
from models.haf import overrides
from models.points import AXIS_NODES
from models.token_score import NumberEvidence

SAMPLE, TOLERANCE = 8, 1e-3
"""Lines that are scored both ways, and the share of the largest score by which they may differ."""

HEAVY, LIGHT = 4, 32
"""Rows that take about half a millisecond, worth a piece: with every candidate, or with the paired one."""


def update_with_kernels(
    haf: HierarchicalAttentionFusion,
    dims: AttentionDims,
    attention: AttentionState,
    cache: EpisodeCache,
    before: Calibration,
    after: Calibration,
    evaluation: Evaluation,
    touched: Tensor,
    paired: Tensor,
) -> None:
    """Equal to `incremental_update`, which see, but for rounding. Rows are spread over PyTorch's threads."""
    arrays = _arrays(haf, dims, attention, cache, before, after, evaluation)
    afresh, moved = _array(touched), _array(paired)
    weights = score_arrays(haf) if afresh.any() else None
    lacks = arrays.renewed | ~afresh[:, None]
    moved_tokens: list[MovedTokens] = []

    def work(rows: NDArray[Any]) -> None:
        every, some = rows[afresh[rows]], rows[moved[rows]]
        if weights is not None and len(every):
            score_all_candidates(every, arrays, weights)
            if arrays.renewed[every].any():
                renew_statistics(every, arrays)
        if len(some):
            found = _moved_tokens(int(arrays.length[some].sum()), arrays)
            count, numbers = update_paired(some, afresh, lacks, arrays, found)
            if count:
                moved_tokens.append(
                    MovedTokens(
                        found.lines[:count],
                        found.along[:numbers],
                        found.row[:count],
                        found.token[:count],
                        found.number[:numbers],
                    )
                )

    with single_threaded_products():
        spread(work, (afresh.nonzero()[0], HEAVY), ((moved & ~afresh).nonzero()[0], LIGHT))
    for piece in sorted(moved_tokens, key=lambda found: int(found.row[0])):
        _score_moved(haf, attention, cache, evaluation, piece)


def _score_moved(
    haf: HierarchicalAttentionFusion,
    attention: AttentionState,
    cache: EpisodeCache,
    evaluation: Evaluation,
    moved: MovedTokens,
) -> None:
    """Score tokens against the paired candidates, as one text of many tokens.

    Each has weights of its own: there is nothing to fold into them, and the tensors' formula is as fast.
    """
    row, token, number = (torch.from_numpy(places) for places in (moved.row, moved.token, moved.number))
    along = torch.from_numpy(moved.along).unsqueeze(1)  # [Q, 1, H * EVIDENCE]
    scores = haf.score_tokens(
        cache.token_queries[row, token].unsqueeze(0),
        torch.from_numpy(moved.lines)[None, None],  # [1, 1, P, D]
        NumberEvidence(torch.zeros_like(number), number, along),
    )
    evaluation.token_scores[row, attention.paired[row], token] = scores.flatten()


def score_arrays(haf: HierarchicalAttentionFusion) -> ScoreArrays:
    """The parameters of the score as arrays."""
    given = haf.score_weights._asdict()
    for name in ("shape_weight", "quantity_weight"):
        given[name] = given[name].T
    arrays: dict[str, Any] = {k: _array(v) if isinstance(v, Tensor) else v for k, v in given.items()}
    return ScoreArrays(**arrays)


def obstacle(haf: HierarchicalAttentionFusion, attention: AttentionState) -> str | None:
    """Name what keeps the kernels from an episode, or None: they need a CPU and single precision."""
    tensors = {"logits": attention.logits, "node values": attention.node_values, "HAF's weights": haf.head}
    for name, tensor in tensors.items():
        if tensor.device.type != "cpu":
            return f"{name} are on {tensor.device}, and the kernels work on the CPU"
        if tensor.dtype != torch.float32:
            return f"{name} are {tensor.dtype}, and the kernels work in torch.float32"
    return None


@torch.no_grad()
def difference(haf: HierarchicalAttentionFusion) -> str | None:
    """Say how a HAF scores tokens in another way than the kernels do, None if it does not.

    What a class overrides is known by name. A change of the formula itself is found by scoring some random
    lines both ways, with a copy whose parameters are drawn at random: those of a new term may be zero yet.
    """
    replaced = overrides(haf, "score_tokens")
    if replaced:
        return f"{type(haf).__name__} overrides {replaced[0]}"
    fields = haf.score_weights._fields
    if fields != ScoreArrays._fields:
        names = ", ".join(sorted(set(fields) ^ set(ScoreArrays._fields)))
        return f"{type(haf).__name__} has other weights than the kernels ({names})"
    draw = torch.Generator().manual_seed(0)
    copied = copy.deepcopy(haf)
    for parameter in copied.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=draw) * max(1, parameter.shape[-1]) ** -0.5)
    weights = score_arrays(copied)
    width, (evidence, pair) = len(weights.norm_weight), weights.quantity_weight.shape
    queries = copied.token_queries(torch.randn(1, 1, width, generator=draw))
    if queries.shape[-1] != 3 * pair:
        return f"{type(haf).__name__} has token queries of {queries.shape[-1]} numbers, not {3 * pair}"
    lines = torch.randn(1, SAMPLE, 1, width, generator=draw)
    along = torch.randn(1, SAMPLE, 1, evidence, generator=draw)
    expected = copied.score_tokens(queries, lines, along).flatten()
    found = torch.empty(SAMPLE)
    score_token(_array(queries)[0, 0], _array(lines)[0, :, 0], _array(along)[0, :, 0], weights, found.numpy())
    worst = float((found - expected).abs().amax() / expected.abs().amax())
    if worst > TOLERANCE:
        return f"the kernel's formula is not that of {type(haf).__name__}: scores differ by {worst:.0%}"
    return None


def _arrays(
    haf: HierarchicalAttentionFusion,
    dims: AttentionDims,
    attention: AttentionState,
    cache: EpisodeCache,
    before: Calibration,
    after: Calibration,
    evaluation: Evaluation,
) -> UpdateArrays:
    renewed = after.temperature != before.temperature
    gate_logits = attention.gate_logits + after.level.unsqueeze(1)
    sizes = dims.level_sizes
    tensors = {
        "mask": attention.mask,
        "length": cache.length,
        "numbers": cache.numbers,
        "token_queries": cache.token_queries,
        "share": attention.mask / attention.mask.sum(-1, keepdim=True).clamp_min(1),
        "pooling": attention.token_logits.softmax(-1),
        "logits": attention.logits,
        "node_values": attention.node_values,
        "evidence": attention.evidence,
        "centers": attention.centers,
        "region": attention.region,
        "paired": attention.paired,
        "gathered": cache.gathered,
        "log_sums": cache.log_sums,
        "gathers": renewed | (after.temperature != 0),
        "renewed": renewed,
        "sharpness": after.temperature.exp(),
        "weight": haf.level_head_weights(gate_logits, haf.head + after.head)[1],
        "association_before": before.association,
        "association_after": after.association,
        "divergence": evaluation.divergence,
        "statistics": evaluation.statistics,
        "token_scores": evaluation.token_scores,
    }
    return UpdateArrays(
        starts=np.array([0, *(nodes.stop for nodes in dims.slices)]),
        axis=AXIS_NODES.start,
        agrees=np.array([has_agreement(level, sizes) for level in range(dims.levels)]),
        regions=dims.regions,
        **{name: _array(tensor) for name, tensor in tensors.items()},
    )


def _moved_tokens(count: int, arrays: UpdateArrays) -> MovedTokens:
    """Room for at most so many."""
    return MovedTokens(
        lines=np.empty((count, arrays.gathered.shape[4]), np.float32),
        along=np.empty((count, arrays.logits.shape[2] * arrays.evidence.shape[4]), np.float32),
        row=np.empty(count, np.int64),
        token=np.empty(count, np.int64),
        number=np.empty(count, np.int64),
    )


def _array(tensor: Tensor) -> NDArray[Any]:
    """The same memory, where the tensor is contiguous, as the kernels want it."""
    return tensor.detach().contiguous().numpy()
