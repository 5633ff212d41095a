"""The score of a token against shapes, compiled for the CPU: the formula of `models.token_score`.

The score asks two things of a line, `[D]` after its layer norm: its bias, and values that the gate of the
token multiplies. Both are products with `shape_weight`, `D x 2 P` operations. As a token has many candidates,
its gate goes into the matrix (`fold_token_into_weights`): bias and gated values are one product, of `D x P`
operations for each candidate, and as many once for the token. Steps on gates take 1.7 times as long without.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from envs.attention.kernels.arrays import Array
from envs.attention.kernels.jit import entry, inner

F = np.float32


class ScoreArrays(NamedTuple):
    """`models.token_score.TokenScoreWeights` as arrays, `shape_weight` and `quantity_weight` transposed.

    Of a class of its own, because compiled code is kept until the files of its package change.
    """

    norm_weight: Array
    norm_bias: Array
    norm_eps: float
    shape_weight: Array
    shape_bias: Array
    quantity_weight: Array
    quantity_bias: Array
    hidden_weight: Array
    hidden_bias: Array
    product_weight: Array


class ScoreRoom(NamedTuple):
    """Room for one token and at most `n` lines.

    Attributes:
        matrix: The folded weights, `[D, P]`.
        offset: `[P]`.
        direct: What each entry of a line adds to the score without being cut off at 0, `[D]`.
        projected: Products of lines with the matrix, `[n, P]`.
        quantity: Products of evidence with `quantity_weight`, `[n, P]`.
    """

    matrix: Array
    offset: Array
    direct: Array
    projected: Array
    quantity: Array


@inner
def normalize(lines: Array, weights: ScoreArrays) -> None:
    """Layer norm of lines `[n, D]`, in place."""
    width = lines.shape[1]
    gain, offset = weights.norm_weight, weights.norm_bias
    for i in range(len(lines)):
        line, total, square = lines[i], F(0), F(0)
        for k in range(width):
            total += line[k]
        mean = total / F(width)
        for k in range(width):
            square += (line[k] - mean) * (line[k] - mean)
        scale = F(1 / math.sqrt(square / F(width) + weights.norm_eps))
        for k in range(width):
            line[k] = (line[k] - mean) * scale * gain[k] + offset[k]


@inner
def evidence_along(axes: Array, evidence: Array, out: Array) -> None:
    """Evidence `[3, E]` along the axes that one head attends to, `[3]`: `out` `[E]`."""
    for e in range(len(out)):
        out[e] = axes[0] * evidence[0, e] + axes[1] * evidence[1, e] + axes[2] * evidence[2, e]


@inner
def fold_token_into_weights(query: Array, weights: ScoreArrays, room: ScoreRoom) -> np.float32:
    """Weights for one token, to the room's `matrix`, `offset` and `direct`.

    Args:
        query: `[3 P]`.
        weights: Parameters.
        room: Written to.

    Returns:
        What is added to every score.
    """
    matrix, offset, direct = room.matrix, room.offset, room.direct
    pair = len(offset)
    token_bias, token_gate, quantity_gate = query[:pair], query[pair : 2 * pair], query[2 * pair :]
    product_weight, quantity_bias = weights.product_weight[0], weights.quantity_bias
    for d in range(len(matrix)):
        bias, value, out = weights.shape_weight[d, :pair], weights.shape_weight[d, pair:], matrix[d]
        for k in range(pair):
            out[k] = bias[k] + token_gate[k] * value[k]
        total = F(0)
        for k in range(pair):
            total += token_gate[k] * value[k] * product_weight[k]
        direct[d] = total
    shape_bias, shape_value, result = weights.shape_bias[:pair], weights.shape_bias[pair:], F(0)
    for k in range(pair):
        gated = quantity_gate[k] * quantity_bias[k] + token_gate[k] * shape_value[k]
        offset[k] = token_bias[k] + shape_bias[k] + gated
    for k in range(pair):
        gated = quantity_gate[k] * quantity_bias[k] + token_gate[k] * shape_value[k]
        result += gated * product_weight[k]
    return result + weights.hidden_bias[0]


@inner
def add_quantities(gate: Array, quantity: Array, weights: ScoreArrays, projected: Array, out: Array) -> None:
    """Add the gated values of quantities to products of lines, and what they say without a cut to scores.

    Args:
        gate: `[P]`.
        quantity: `[n, P]`.
        weights: Parameters.
        projected: Added to, `[n or more, P]`.
        out: Added to, `[n or more]`.
    """
    product_weight = weights.product_weight[0]
    for i in range(len(quantity)):
        values, product, result = quantity[i], projected[i], F(0)
        for k in range(len(gate)):
            product[k] += gate[k] * values[k]
        for k in range(len(gate)):
            result += gate[k] * values[k] * product_weight[k]
        out[i] += result


@inner
def score_lines(
    query: Array,
    lines: Array,
    along: Array,
    weights: ScoreArrays,
    room: ScoreRoom,
    out: Array,
) -> None:
    """Scores of one token against what it is aligned with.

    Args:
        query: `[3 P]`.
        lines: `[n, D]`; normalized in place.
        along: Evidence along the axes, `[n, H * E]`; or none, `[0, H * E]`, where the token is no number.
        weights: Parameters.
        room: Written to.
        out: Written to, `[n]`.
    """
    count, pair = len(lines), len(room.offset)
    projected, quantity = room.projected[:count], room.quantity[: len(along)]
    constant = fold_token_into_weights(query, weights, room)
    normalize(lines, weights)
    np.dot(lines, room.matrix, projected)
    for i in range(count):
        out[i] = constant
    if len(along) > 0:
        np.dot(along, weights.quantity_weight, quantity)
        add_quantities(query[2 * pair :], quantity, weights, projected, out)
    hidden_weight, direct, offset = weights.hidden_weight[0], room.direct, room.offset
    for i in range(count):
        line, product, straight, hidden = lines[i], projected[i], F(0), F(0)
        for d in range(len(line)):
            straight += line[d] * direct[d]
        for k in range(pair):
            hidden += max(product[k] + offset[k], F(0)) * hidden_weight[k]
        out[i] += straight + hidden


@inner
def score_room(lines: int, weights: ScoreArrays) -> ScoreRoom:
    """Room for at most so many lines."""
    pair, width = len(weights.quantity_bias), len(weights.norm_weight)
    return ScoreRoom(
        np.empty((width, pair), np.float32),
        np.empty(pair, np.float32),
        np.empty(width, np.float32),
        np.empty((lines, pair), np.float32),
        np.empty((lines, pair), np.float32),
    )


@entry
def score_token(query: Array, lines: Array, along: Array, weights: ScoreArrays, out: Array) -> None:
    """As `score_lines`, by itself: to be compared with `models.token_score`."""
    score_lines(query, lines, along, weights, score_room(len(lines), weights), out)
