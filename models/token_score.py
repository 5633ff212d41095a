"""The score of a token against a shape: HAF's innermost formula with its layers and its cost.

Training, evaluation, the environment and the cached re-ranker all call `TokenScorer.score_tokens`, so that a
term added to `token_score`, or in a subclass, reaches each of them. The formula is written once more for the
CPU, in `envs.attention.kernels.token_scores`; where both differ the environment notices, and uses this one.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.config import ModelConfig
from models.layers import perceptron
from models.points import AXIS_NODES
from models.quantity_evidence import EVIDENCE


class TokenScoreWeights(NamedTuple):
    """Parameters of the formula, ``P`` is the width of a pair.

    Attributes:
        norm_weight: ``[D]`` gain of the layer norm of aligned features.
        norm_bias: ``[D]`` its offset.
        norm_eps: Its epsilon.
        shape_weight: ``[2 P, D]`` makes shape bias and shape value of aligned features.
        shape_bias: ``[2 P]``.
        quantity_weight: ``[P, H * EVIDENCE]`` makes quantity values of the evidence on numbers.
        quantity_bias: ``[P]``.
        hidden_weight: ``[1, P]`` weighs what is above zero.
        hidden_bias: ``[1]``.
        product_weight: ``[1, P]`` weighs the products of gates and values themselves.
    """

    norm_weight: Tensor
    norm_bias: Tensor
    norm_eps: float
    shape_weight: Tensor
    shape_bias: Tensor
    quantity_weight: Tensor
    quantity_bias: Tensor
    hidden_weight: Tensor
    hidden_bias: Tensor
    product_weight: Tensor

    @property
    def pair_flops(self) -> int:
        """Floating-point operations of the matrix products for a token and a shape."""
        matrices = (self.shape_weight, self.hidden_weight, self.product_weight)
        return 2 * sum(matrix.numel() for matrix in matrices)

    @property
    def number_flops(self) -> int:
        """Floating-point operations of the matrix products on top of these for a token that is a number."""
        axes = AXIS_NODES.stop - AXIS_NODES.start
        return 2 * axes * self.quantity_weight.shape[1] + 2 * self.quantity_weight.numel()


class NumberEvidence(NamedTuple):
    """Evidence on the ``Q`` tokens that are numbers, where it is zero on all others.

    Attributes:
        row: ``[Q]`` int64, the row of each.
        token: ``[Q]`` int64, its place among the tokens.
        evidence: ``[Q, C, H * EVIDENCE]``.
    """

    row: Tensor
    token: Tensor
    evidence: Tensor


def evidence_along(axes: Tensor, evidence: Tensor) -> Tensor:
    """Evidence along the axes that each head attends to, ``[..., H * EVIDENCE]``.

    Args:
        axes: ``[..., H, 3]`` weighted attention to the nodes of the axes.
        evidence: ``[..., 3, EVIDENCE]`` see `models.quantity_evidence`.
    """
    # products of a few numbers each: batched matrix products are slow at this
    along = axes[..., 0, None] * evidence[..., 0, None, :]
    for axis in range(1, axes.shape[-1]):
        along = torch.addcmul(along, axes[..., axis, None], evidence[..., axis, None, :])
    return along.flatten(-2)


def token_score(
    weights: TokenScoreWeights, queries: Tensor, aligned: Tensor, evidence: Tensor | NumberEvidence
) -> Tensor:
    """Scores ``[B, C, T]`` of tokens against shapes.

    A token and a shape each bring a bias and values; gates of the token multiply the values of the shape and
    those of its measures. The products count as they are, and through a small network with the biases.

    Args:
        weights: Parameters.
        queries: ``[B, T, 3 * P]`` biases, gates of shapes and gates of quantities of the tokens.
        aligned: ``[B, C, T, D]`` what the tokens are aligned with.
        evidence: ``[B, C, T, H * EVIDENCE]`` from `evidence_along`, or that of the numbers alone.
    """
    token_bias, token_gate, quantity_gate = queries.unsqueeze(1).chunk(3, dim=-1)  # each [B, 1, T, P]
    normalized = F.layer_norm(
        aligned, aligned.shape[-1:], weights.norm_weight, weights.norm_bias, weights.norm_eps
    )
    projected = F.linear(normalized, weights.shape_weight, weights.shape_bias)
    shape_bias, shape_value = projected.chunk(2, dim=-1)  # each [B, C, T, P]
    quantity_value = _quantity_value(weights, aligned.shape[:-1], evidence)
    product = token_gate * shape_value + quantity_gate * quantity_value
    hidden = (token_bias + shape_bias + product).relu()
    score = F.linear(hidden, weights.hidden_weight, weights.hidden_bias)
    return (score + F.linear(product, weights.product_weight)).squeeze(-1)


def _quantity_value(
    weights: TokenScoreWeights, pairs: torch.Size, evidence: Tensor | NumberEvidence
) -> Tensor:
    """Values of quantities ``[B, C, T, P]`` of so many pairs, or ``[P]`` where no token is a number."""
    if isinstance(evidence, Tensor):
        return F.linear(evidence, weights.quantity_weight, weights.quantity_bias)
    if len(evidence.row) == 0:
        return weights.quantity_bias
    values = weights.quantity_bias.repeat(*pairs, 1)
    values[evidence.row, :, evidence.token] += F.linear(evidence.evidence, weights.quantity_weight)
    return values


class TokenScorer(nn.Module):
    """The layers of the formula; base class of `HierarchicalAttentionFusion`."""

    aligned_norm: nn.LayerNorm
    from_token: nn.Sequential
    from_aligned: nn.Linear
    from_evidence: nn.Linear
    verdict: nn.Linear
    agreement: nn.Linear

    def make_score_layers(self, config: ModelConfig) -> None:
        """Make the layers. Their names are those of saved parameters."""
        width, pair = config.width, config.pair_width
        self.aligned_norm = nn.LayerNorm(width)
        self.from_token = perceptron(width, 2 * width, 3 * pair)
        self.from_aligned = nn.Linear(width, 2 * pair)
        self.from_evidence = nn.Linear(config.heads * EVIDENCE, pair)
        self.verdict = nn.Linear(pair, 1)
        self.agreement = nn.Linear(pair, 1, bias=False)

    @property
    def score_weights(self) -> TokenScoreWeights:
        """The parameters by name; gradients flow through them."""
        return TokenScoreWeights(
            norm_weight=self.aligned_norm.weight,
            norm_bias=self.aligned_norm.bias,
            norm_eps=self.aligned_norm.eps,
            shape_weight=self.from_aligned.weight,
            shape_bias=self.from_aligned.bias,
            quantity_weight=self.from_evidence.weight,
            quantity_bias=self.from_evidence.bias,
            hidden_weight=self.verdict.weight,
            hidden_bias=self.verdict.bias,
            product_weight=self.agreement.weight,
        )

    def token_queries(self, tokens: Tensor) -> Tensor:
        """Biases and gates ``[B, T, 3 * P]`` of tokens ``[B, T, D]``; no calibration changes them."""
        queries: Tensor = self.from_token(tokens)
        return queries

    def score_tokens(self, queries: Tensor, aligned: Tensor, evidence: Tensor | NumberEvidence) -> Tensor:
        """Scores ``[B, C, T]`` of tokens against shapes: see `token_score`.

        A subclass may override this, and `token_queries`: all paths follow.

        Args:
            queries: ``[B, T, 3 * P]`` from `token_queries`.
            aligned: ``[B, C, T, D]`` what the tokens are aligned with.
            evidence: ``[B, C, T, H * EVIDENCE]`` from `evidence_along`, or that of the numbers alone.
        """
        return token_score(self.score_weights, queries, aligned, evidence)
