"""Verdicts on what tokens are aligned with, compiled for the CPU, see `HierarchicalAttentionFusion.judge`.

A verdict asks two things of a line, `[D]` after its layer norm: what is seen in it, and how far that is what
the token wanted. Both are products with `from_aligned`, `D x 2 D_pair` operations, and what the token wanted
is a factor of the second for every feature. So where a token has many candidates, that factor goes into the
matrix (`narrow`): what is seen and what was wanted of it are one product, `D x D_pair` operations for each
candidate, and as many once for the token. Where it has one, as in `kernels_paired.py`, lines of many tokens
are multiplied by the matrix as it is (`conclude`).

`model` is what is asked of HAF: the gain `[D]`, the offset `[D]` and the epsilon of its layer norm, the
matrix of `from_aligned` `[D, 2 D_pair]` and its bias, that of `from_evidence` `[H * E, D_pair]` and its bias,
the weights of `verdict` and `agreement` `[D_pair]`, and the bias of `verdict` `[1]`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from envs.attention.kernels.jit import Array, inner

F = np.float32


@inner
def normalize(lines: Array, gain: Array, offset: Array, epsilon: float) -> None:
    """Layer norm of lines `[n, D]`, in place."""
    width = lines.shape[1]
    for i in range(len(lines)):
        line, total, square = lines[i], F(0), F(0)
        for k in range(width):
            total += line[k]
        mean = total / F(width)
        for k in range(width):
            square += (line[k] - mean) * (line[k] - mean)
        scale = F(1 / math.sqrt(square / F(width) + epsilon))
        for k in range(width):
            line[k] = (line[k] - mean) * scale * gain[k] + offset[k]


@inner
def narrow(asked: Array, model: tuple[Any, ...], matrix: Array, offset: Array, straight: Array) -> np.float32:
    """What one token makes of the model.

    Args:
        asked: `[3 D_pair]`.
        model: See above.
        matrix: Written to, `[D, D_pair]`: a line's product with it and the offset is what the line has to say
            of each feature, before what was measured, and before it is cut off at 0.
        offset: Written to, `[D_pair]`.
        straight: Written to, `[D]`: what each entry of a line adds to its verdict without being cut off.

    Returns:
        What is added to every verdict.
    """
    _, _, _, to_pair, pair_bias, _, measure_bias, _, plain, constant = model
    pair = len(offset)
    said, wanted, sought = asked[:pair], asked[pair : 2 * pair], asked[2 * pair :]
    for d in range(len(matrix)):
        seen, found, out = to_pair[d, :pair], to_pair[d, pair:], matrix[d]
        for k in range(pair):
            out[k] = seen[k] + wanted[k] * found[k]
        total = F(0)
        for k in range(pair):
            total += wanted[k] * found[k] * plain[k]
        straight[d] = total
    seen, found, result = pair_bias[:pair], pair_bias[pair:], constant[0]
    for k in range(pair):
        offset[k] = said[k] + seen[k] + sought[k] * measure_bias[k] + wanted[k] * found[k]
    for k in range(pair):
        result += (sought[k] * measure_bias[k] + wanted[k] * found[k]) * plain[k]
    return result


@inner
def add_measured(sought: Array, measured: Array, plain: Array, products: Array, out: Array) -> None:
    """Add what was measured to the products of lines, and what it says without being cut off to `out`.

    Args:
        sought: `[D_pair]`.
        measured: `[n, D_pair]`.
        plain: The weights of `agreement`, `[D_pair]`.
        products: `[n or more, D_pair]`.
        out: `[n or more]`.
    """
    for i in range(len(measured)):
        found, product, result = measured[i], products[i], F(0)
        for k in range(len(sought)):
            product[k] += sought[k] * found[k]
        for k in range(len(sought)):
            result += sought[k] * found[k] * plain[k]
        out[i] += result


@inner
def sum_up(lines: Array, straight: Array, products: Array, offset: Array, relu: Array, out: Array) -> None:
    """Add the verdicts on lines, but for the constant, to `out`, by what `narrow` made of the model.

    Args:
        lines: `[n, D]`.
        straight: `[D]`.
        products: Theirs, `[n or more, D_pair]`.
        offset: `[D_pair]`.
        relu: The weights of `verdict`, `[D_pair]`.
        out: `[n or more]`.
    """
    for i in range(len(lines)):
        line, product, direct, result = lines[i], products[i], F(0), F(0)
        for d in range(len(line)):
            direct += line[d] * straight[d]
        for k in range(len(offset)):
            result += max(product[k] + offset[k], F(0)) * relu[k]
        out[i] += direct + result


@inner
def verdict(
    asked: Array,
    line: Array,
    offset: Array,
    bias: Array,
    measured: Array,
    relu: Array,
    plain: Array,
) -> np.float32:
    """The verdict on one pair but for the constant, by the model as it is.

    Args:
        asked: `[3 D_pair]`.
        line: The product of a line, `[2 D_pair]`.
        offset: The bias of `from_aligned`, `[2 D_pair]`.
        bias: That of `from_evidence`, `[D_pair]`.
        measured: `[D_pair]`, zeros where the token is no number.
        relu: The weights of `verdict`, `[D_pair]`.
        plain: Those of `agreement`, `[D_pair]`.
    """
    pair = len(bias)
    said, wanted, sought = asked[:pair], asked[pair : 2 * pair], asked[2 * pair :]
    seen, found = line[:pair], line[pair:]
    to_seen, to_found = offset[:pair], offset[pair:]
    result = F(0)
    for k in range(pair):
        product = sought[k] * (bias[k] + measured[k]) + wanted[k] * (found[k] + to_found[k])
        result += max(seen[k] + to_seen[k] + product + said[k], F(0)) * relu[k] + product * plain[k]
    return result


@inner
def conclude(
    pairs: int, count: int, asked: Array, scores: Array, model: tuple[Any, ...], room: tuple[Any, ...]
) -> None:
    """Verdicts on the pairs in the room, and evidence on `count` of them.

    Args:
        pairs: How many there are.
        count: How many of them are numbers.
        asked: `[B, T, 3 D_pair]`.
        scores: Written to, `[B, C, T]`.
        model: See above.
        room: Lines `[P, D]`, evidence on those that are numbers `[P, H * E]`, room for the products of these,
            `[P, 2 D_pair]` and `[P, D_pair]`, and of each line the row, the candidate, the token and the
            number of its evidence, or -1, i64 `[P, 4]`.
    """
    _, _, _, to_pair, pair_bias, to_measure, measure_bias, relu, plain, constant = model
    lines, seen, projected, measured, place = room
    none = np.zeros(len(relu), np.float32)
    if pairs > 0:
        np.dot(lines[:pairs], to_pair, projected[:pairs])
    if count > 0:
        np.dot(seen[:count], to_measure, measured[:count])
    for i in range(pairs):
        row, c, t, number = place[i, 0], place[i, 1], place[i, 2], place[i, 3]
        evidence = measured[number] if number >= 0 else none
        scores[row, c, t] = constant[0] + verdict(
            asked[row, t], projected[i], pair_bias, measure_bias, evidence, relu, plain
        )
