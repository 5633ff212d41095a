"""Tensors of an episode that no calibration changes, and those of one evaluation."""

from __future__ import annotations

from tensordict import TensorClass
from torch import Tensor


class EpisodeCache(TensorClass):
    """Fixed for an episode, batch size `[B]`.

    Attributes:
        gathered: What each level has gathered without any change, heads side by side, `[B, L, C, T, D]`.
        log_sums: Logarithms of the sums of the exponentials of the logits, `[B, L, C, H, T]`.
        token_queries: Biases and gates of the tokens, see `models.token_score`, `[B, T, 3 P]`.
        top: The largest logits of the leading candidates' maps, `[B, K, L, H, T, TOP]`, minus infinity where
            a level has fewer nodes.
        columns: What statistics of the paired candidate's maps sum up, level by level,
            `[B, N, (5 + R) L]`: one, where each node is, the square of that, and its membership in regions.
        numbers: Real tokens that are numbers, so that there is evidence, bool `[B, T]`.
        length: Tokens up to the last real one, i64 `[B]`: the rest is padding.
    """

    gathered: Tensor
    log_sums: Tensor
    token_queries: Tensor
    top: Tensor
    columns: Tensor
    numbers: Tensor
    length: Tensor


CANDIDATE_AXES = {"gathered": 2, "log_sums": 2}
"""The axis of candidates of the fields that have one."""


class Evaluation(TensorClass):
    """HAF's results for `B` rows under a calibration, as far as reward and observation need them.

    Attributes:
        score: Logits of the candidates, `[B, C]`.
        token_scores: Each token's own score, `[B, C, T]`; that of padding weighs nothing and means nothing.
        divergence: KL(calibrated ‖ initial) of the maps, in nats, mean over heads and tokens, `[B, C, L]`.
        statistics: Statistics of the leading candidates' maps, `[B, leading, L, H, F]`.
    """

    score: Tensor
    token_scores: Tensor
    divergence: Tensor
    statistics: Tensor
