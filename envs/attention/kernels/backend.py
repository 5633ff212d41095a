"""One re-evaluation on a CPU: as `IncrementalUpdate`, with its passes over memory compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compiling import single_threaded_products
from envs.attention.dimensions import AttentionDims
from envs.attention.kernels import candidates
from envs.attention.kernels.associations import pairs
from envs.attention.kernels.statistics import renew
from envs.attention.kernels.threads import spread
from envs.attention.kernels.weights import weigh
from envs.attention.precompute import EpisodeCache
from models import AttentionState, Calibration, HierarchicalAttentionFusion
from models.attention_statistics import has_agreement
from models.points import AXIS_NODES

PAIRS = 256
"""Tokens whose associations have moved that are multiplied together: they stay in a core's own cache."""

HEAVY, LIGHT = 4, 32
"""Rows that take about half a millisecond, worth a piece: with every candidate, or with the paired one."""


def supports(haf: HierarchicalAttentionFusion, attention: AttentionState) -> bool:
    """Whether the kernels can be used: on a CPU, in single precision."""
    tensors = (attention.logits, attention.node_values, haf.from_aligned.weight)
    return all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in tensors)


class CompiledReevaluation:
    """Replaces, in place, the parts of an evaluation that actions have touched.

    Equal to `IncrementalUpdate`, which see for arguments, but for rounding. The tensors that are replaced
    must be contiguous.
    """

    def __init__(
        self,
        haf: HierarchicalAttentionFusion,
        layout: AttentionDims,
        attention: AttentionState,
        work: EpisodeCache,
        before: Calibration,
        after: Calibration,
        token_scores: Tensor,
        divergence: Tensor,
        statistics: Tensor,
    ) -> None:
        self.haf = haf
        self.was, self.now = _array(before.association), _array(after.association)
        self.token_scores, self.divergence, self.statistics = map(
            _array, (token_scores, divergence, statistics)
        )
        temperature = _array(after.temperature)
        self.touched = temperature != _array(before.temperature)  # [B, L]: these levels' maps are new
        self.again = self.touched | (temperature != 0)  # and the maps of these are not the groundwork's
        self.sharpness = np.exp(temperature)
        tokens, levels = attention.gate_logits.shape[1:]
        self.weight = np.empty((len(self.touched), haf.heads, tokens, levels), np.float32)
        weigh(*map(_array, (attention.gate_logits, after.level, haf.head, after.head)), self.weight)
        self.share = _array(attention.mask / attention.mask.sum(-1, keepdim=True).clamp_min(1))
        self.pooling = _array(attention.token_logits.softmax(-1))
        self.logits, self.values, self.evidence = map(
            _array, (attention.logits, attention.node_values, attention.evidence)
        )
        self.centers, self.region = _array(attention.centers), _array(attention.region)
        self.mask, self.column = _array(attention.mask), _array(attention.paired)
        self.numbers, self.length = _array(work.numbers), _array(work.length)
        self.gathered, self.log_sums = _array(work.gathered), _array(work.log_sums)
        self.starts = np.array([0, *(nodes.stop for nodes in layout.slices)])
        sizes = layout.level_sizes
        self.agrees = np.array([has_agreement(level, sizes) for level in range(layout.levels)])
        self.regions = layout.regions
        self.asked = _array(work.asked)
        norm, aligned, evidence = haf.aligned_norm, haf.from_aligned, haf.from_evidence
        self.model = (
            _array(norm.weight),
            _array(norm.bias),
            float(norm.eps),
            _array(aligned.weight.T),
            _array(aligned.bias),
            _array(evidence.weight.T),
            _array(evidence.bias),
            _array(haf.verdict.weight)[0],
            _array(haf.agreement.weight)[0],
            _array(haf.verdict.bias),
        )

    def run(self, every: Tensor, paired: Tensor) -> None:
        """See `IncrementalUpdate.run`. Rows are spread over PyTorch's threads."""
        afresh, moved = _array(every), _array(paired)

        def work(rows: NDArray[Any]) -> None:
            self._all(rows[afresh[rows]])
            self._pairs(rows[moved[rows]], afresh)

        with single_threaded_products():
            spread(work, (afresh.nonzero()[0], HEAVY), ((moved & ~afresh).nonzero()[0], LIGHT))

    def _all(self, rows: NDArray[Any]) -> None:
        """Every candidate of rows `[b]`, as if there were no association."""
        if len(rows) == 0:
            return
        candidates.every(
            rows, self.starts, AXIS_NODES.start, self.length, self.again, self.touched, self.sharpness,
            self.weight, self.share, self.numbers, self.logits, self.values, self.evidence, self.gathered,
            self.log_sums, self.asked, self.divergence, self.token_scores, self.model,
        )  # fmt: skip
        if self.touched[rows].any():
            renew(
                rows, self.starts, self.agrees, self.length, self.touched, self.sharpness, self.pooling,
                self.logits, self.centers, self.region, self.regions, self.statistics,
            )  # fmt: skip

    def _pairs(self, rows: NDArray[Any], afresh: NDArray[Any]) -> None:
        """The paired candidate of rows `[b]`: the tokens whose associations have changed."""
        if len(rows) == 0:
            return
        pairs(
            rows, afresh, self.touched | ~afresh[:, None], self.starts, AXIS_NODES.start, self.agrees,
            self.was, self.now, self.mask, self.column, self.sharpness, self.weight, self.share,
            self.pooling, self.numbers, self.logits, self.values, self.evidence, self.centers, self.region,
            self.asked, self.divergence, self.statistics, self.token_scores, self.model,
            self._room(int(self.length[rows].sum())),
        )  # fmt: skip

    def _room(self, count: int) -> tuple[NDArray[Any], ...]:
        """What `pairs` writes lines to, of `count` tokens in all, see `conclude`."""
        size = max(min(count, PAIRS), self.mask.shape[1])
        haf = self.haf
        widths = (
            haf.from_aligned.in_features,
            haf.from_evidence.in_features,
            haf.from_aligned.out_features,
            haf.from_evidence.out_features,
        )
        lines = [np.empty((size, width), np.float32) for width in widths]
        return (*lines, np.empty((size, 4), np.int64))


def _array(tensor: Tensor) -> NDArray[Any]:
    """The same memory, where the tensor is contiguous, as the kernels want it."""
    return tensor.detach().contiguous().numpy()
