"""Arrays that the kernels of an incremental update share, by name (see `envs.attention.kernels.jit`)."""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray

Array = NDArray[Any]


class UpdateArrays(NamedTuple):
    """Arrays that an update of `B` rows reads and writes.

    Attributes:
        starts: The first node of each level, and the end, i64 `[L + 1]`.
        axis: Where the first axis is among the nodes of the coarsest level.
        agrees: Levels that have an overlap with the next coarser one, bool `[L]`.
        regions: `R`.
        mask: Real tokens, bool `[B, T]`.
        length: Tokens up to the last real one, i64 `[B]`.
        numbers: Tokens that are numbers, bool `[B, T]`.
        token_queries: Biases and gates of the tokens, `[B, T, 3 P]`.
        share: How much each token counts in KL, `[B, T]`.
        pooling: How much each token counts in statistics, `[B, T]`.
        logits: At most 0, `[B, C, H, T, N]`.
        node_values: `[B, C, H, N, d]`.
        evidence: `[B, C, T, 3, E]`.
        centers: `[B, C, N, 3]`.
        region: `[B, C, N]`, `R` for none.
        paired: The paired candidate, i64 `[B]`.
        gathered: What levels gathered before any change, `[B, L, C, T, D]`.
        log_sums: Of the maps before any change, `[B, L, C, H, T]`.
        gathers: Levels that gather anew, bool `[B, L]`.
        renewed: Levels whose maps a temperature has changed, out of those, bool `[B, L]`.
        sharpness: Of the levels, `[B, L]`.
        weight: Of levels and heads, `[B, H, T, L]`.
        association_before: Associations before the action, `[B, T, R]`.
        association_after: Associations after it, `[B, T, R]`.
        divergence: Written to, `[B, C, L]`.
        statistics: Of the leading candidates, written to, `[B, K, L, H, F]`.
        token_scores: Written to, `[B, C, T]`.
    """

    starts: Array
    axis: int
    agrees: Array
    regions: int
    mask: Array
    length: Array
    numbers: Array
    token_queries: Array
    share: Array
    pooling: Array
    logits: Array
    node_values: Array
    evidence: Array
    centers: Array
    region: Array
    paired: Array
    gathered: Array
    log_sums: Array
    gathers: Array
    renewed: Array
    sharpness: Array
    weight: Array
    association_before: Array
    association_after: Array
    divergence: Array
    statistics: Array
    token_scores: Array
