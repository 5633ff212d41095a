"""Scores of the light re-ranker for lists of candidates, compiled: the formula of `late_interaction`.

Tokens and nodes are multiplied in 8 bits (`models.rerank.int8_products`). Exponentials
are evaluated for all numbers and candidates of a query together, by a polynomial that the compiler turns into
vector instructions (a library call for each would cost more than all else).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from compiling import cached_njit, inlined
from compiling.instructions import QUAD, prefetch_lines
from models.quantity_evidence import (
    CHANNELS,
    COUNT_OFFSETS,
    EVIDENCE,
    LARGEST_OCTAVE,
    NO_LENGTH,
    SPECTRUM_GAIN,
    WIDTHS,
)
from models.rerank.int8_products import BLOCK, multiply
from models.rerank.late_interaction import LightShapes, LightTexts

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bytes = NDArray[np.int8]
Counts = NDArray[np.int32]
_AXES = 3
_FAST = {"reassoc", "contract", "nsz", "nnan", "arcp"}
_part = inlined(fastmath=_FAST)
_LOG2E = float(np.log2(np.e))
_OFFSETS = tuple(float(offset) for offset in COUNT_OFFSETS)
_INVERSE = tuple(1.0 / width for width in WIDTHS)
_GAIN = float(SPECTRUM_GAIN)
_CHANNELS = int(CHANNELS)
_EXPONENTS = 2 + len(_INVERSE)
_COUNTS = len(_OFFSETS)
assert _CHANNELS * (_COUNTS + 1) + len(_INVERSE) + 1 == EVIDENCE


def scores_of_shapes(
    texts: LightTexts, shapes: LightShapes, queries: NDArray[np.int64], rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Scores ``[B, C]`` of texts ``[B]`` against shapes ``[B, C]``; minus infinity where a row is below 0."""
    queries, rows = _checked(queries, rows, len(texts), len(shapes))
    return _run(texts, shapes, queries, rows, True)


def scores_of_texts(
    texts: LightTexts, shapes: LightShapes, queries: NDArray[np.int64], rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Scores ``[B, C]`` of shapes ``[B]`` against texts ``[B, C]``; minus infinity where a row is below 0."""
    queries, rows = _checked(queries, rows, len(shapes), len(texts))
    return _run(texts, shapes, queries, rows, False)


def _run(texts: LightTexts, shapes: LightShapes, queries: Ints, rows: Ints, of_shapes: bool) -> Floats:
    width, expected = texts.tokens.codes.shape[1], shapes.codes.shape[2] * QUAD
    if width != expected:
        raise ValueError(f"tokens of length {width}, nodes of {expected}: are they from the same head?")
    return _score(
        texts.tokens.codes,
        texts.tokens.scales,
        texts.tokens.starts,
        texts.first_token,
        texts.along.codes,
        texts.along.scales,
        texts.along.starts,
        texts.evidence,
        texts.quantities,
        texts.first_number,
        shapes.codes,
        shapes.scales,
        shapes.extent,
        shapes.spectrum,
        shapes.spectrum_scales,
        queries,
        rows,
        of_shapes,
    )


def _checked(
    queries: NDArray[np.int64], rows: NDArray[np.int64], num_queries: int, num_candidates: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Contiguous rows within bounds: the compiled code does not look."""
    queries = np.ascontiguousarray(queries, np.int64)
    rows = np.ascontiguousarray(rows, np.int64)
    if queries.ndim != 1 or rows.ndim != 2 or len(rows) != len(queries):
        raise ValueError(f"queries {queries.shape}, candidates {rows.shape}: expected [B] and [B, C]")
    if queries.size and not 0 <= queries.min() <= queries.max() < num_queries:
        raise ValueError(f"query {queries.max()}: expected 0 to {num_queries - 1}")
    if rows.size and rows.max() >= num_candidates:
        raise ValueError(f"candidate {rows.max()}: expected at most {num_candidates - 1}")
    return queries, rows


@_part
def _exp2(x: NDArray[np.float32], bits: NDArray[np.int32], count: int) -> None:
    """Powers of two in place, within 3e-7 of the true ones: 2^f by its Taylor series, |f| <= 1/2."""
    powers = bits.view(np.float32)
    for i in range(count):
        value = min(max(x[i], np.float32(-126.0)), np.float32(126.0))
        whole = np.floor(value + np.float32(0.5))
        f = value - whole
        bits[i] = (np.int32(whole) + np.int32(127)) << np.int32(23)
        series = np.float32(1.5403530e-4)
        series = series * f + np.float32(1.3333558e-3)
        series = series * f + np.float32(9.6181291e-3)
        series = series * f + np.float32(5.5504109e-2)
        series = series * f + np.float32(2.4022651e-1)
        series = series * f + np.float32(6.9314718e-1)
        x[i] = series * f + np.float32(1.0)
    for i in range(count):
        x[i] *= powers[i]


@_part
def _strength(spectrum: NDArray[np.uint8], repetitions: np.float32) -> np.float32:
    """Linear interpolation of ``[F]`` strengths of 1 to F repetitions; zero at none and beyond F."""
    last = len(spectrum)
    place = min(max(repetitions, np.float32(0.0)), np.float32(last + 1))
    below = np.int64(place)
    share = place - np.float32(below)
    low = np.float32(spectrum[below - 1]) if 1 <= below <= last else np.float32(0.0)
    high = np.float32(spectrum[below]) if below < last else np.float32(0.0)
    return low + share * (high - low)


@_part
def _add_evidence(
    quantities: Floats,
    weights: Floats,
    extent: Floats,
    spectrum: NDArray[np.uint8],
    spectrum_scales: Floats,
    pair: tuple[Ints, Ints, Ints],
    attention: Floats,
    powers: Floats,
    bits: NDArray[np.int32],
    out: Floats,
) -> None:
    """Adds to ``out[slot]`` what measures say of pairs ``(number, shape, slot)``, ``[P]`` each.

    ``attention`` ``[P, 3]`` holds logits over the axes.
    """
    number, shape, slot = pair
    pairs = len(number)
    count = pairs * _AXES
    for j in range(pairs):
        log, row = quantities[number[j], 1], shape[j]
        peak = max(attention[j, 0], attention[j, 1], attention[j, 2])
        for axis in range(_AXES):
            i = j * _AXES + axis
            ratio = log - extent[row, axis]
            powers[i] = min(-ratio, np.float32(LARGEST_OCTAVE))
            powers[count + i] = np.float32(2 * _LOG2E) * min(max(ratio, np.float32(-20)), np.float32(20))
            powers[2 * count + i] = np.float32(_LOG2E) * (attention[j, axis] - peak)
            for w in range(len(_INVERSE)):
                x = ratio * np.float32(_INVERSE[w])
                powers[(3 + w) * count + i] = np.float32(-_LOG2E) * x * x
    _exp2(powers, bits, count * (_EXPONENTS + 1))
    for j in range(pairs):
        k, row = number[j], shape[j]
        value, weight = quantities[k, 0], weights[k]
        is_length = np.float32(1) if quantities[k, 1] < np.float32(NO_LENGTH) else np.float32(0)
        total, mass = np.float32(0), np.float32(0)
        for axis in range(_AXES):
            i = j * _AXES + axis
            found = np.float32(0)
            for channel in range(_CHANNELS):
                strengths = spectrum[row, axis, channel]
                counted = np.float32(0)
                for o in range(_COUNTS):
                    counted += weight[o * _CHANNELS + channel] * _strength(strengths, value + _OFFSETS[o])
                counted += weight[_COUNTS * _CHANNELS + channel] * _strength(strengths, powers[i])
                found += counted * spectrum_scales[row, axis, channel]
            found *= np.float32(_GAIN)
            base = (_COUNTS + 1) * _CHANNELS
            for w in range(len(_INVERSE)):
                found += weight[base + w] * powers[(3 + w) * count + i]
            grown = powers[count + i]  # e^(2 ratio), so that (x - 1) / (x + 1) is its hyperbolic tangent
            found += is_length * weight[base + len(_INVERSE)] * (grown - 1) / (grown + 1)
            total += found * powers[2 * count + i]
            mass += powers[2 * count + i]
        out[slot[j]] += total / mass


@_part
def _interact(
    tokens: Bytes,
    token_scales: Floats,
    starts: Counts,
    first: int,
    last: int,
    codes: NDArray[np.uint8],
    scales: Floats,
    row: int,
    products: Counts,
) -> np.float32:
    """Late interaction of the tokens from ``first`` to ``last`` with one shape's nodes."""
    width = tokens.shape[1]
    nodes = scales.shape[1]
    code, block, out = tokens.ctypes.data, codes.ctypes.data + row * nodes * width, products.ctypes.data
    total = np.float32(0)
    for t in range(first, last):
        for node in range(0, nodes, BLOCK):
            multiply(code + t * width, block + node * width, width, starts[t], out + 4 * node)
        best = np.float32(-np.inf)
        for node in range(nodes):
            best = max(best, scales[row, node] * np.float32(products[node]))
        total += token_scales[t] * best
    return total


@_part
def _most(first: Ints) -> int:
    """The largest piece of those that begin at ``first``."""
    most = 1
    for piece in range(len(first) - 1):
        most = max(most, first[piece + 1] - first[piece])
    return most


@cached_njit(fastmath=_FAST)
def _score(
    tokens: Bytes,
    token_scales: Floats,
    token_starts: Counts,
    first_token: Ints,
    along: Bytes,
    along_scales: Floats,
    along_starts: Counts,
    weights: Floats,
    quantities: Floats,
    first_number: Ints,
    codes: NDArray[np.uint8],
    scales: Floats,
    extent: Floats,
    spectrum: NDArray[np.uint8],
    spectrum_scales: Floats,
    queries: Ints,
    rows: Ints,
    of_shapes: bool,
) -> Floats:
    """Scores ``[B, C]``; the queries are texts and the candidates shapes, or the other way round."""
    batch, count = rows.shape
    nodes, width = scales.shape[1], tokens.shape[1]
    out = np.zeros((batch, count), np.float32)
    strengths = spectrum.itemsize * _AXES * _CHANNELS * spectrum.shape[3]
    products = np.empty(nodes, np.int32)
    pairs = count * _most(first_number)
    number, shape, slot = np.empty(pairs, np.int64), np.empty(pairs, np.int64), np.empty(pairs, np.int64)
    attention = np.empty((pairs, _AXES), np.float32)
    powers = np.empty(pairs * _AXES * (_EXPONENTS + 1), np.float32)
    bits = np.empty(len(powers), np.int32)
    for b in range(batch):
        query, own = queries[b], out[b]
        filled = 0
        for c in range(count):
            row = rows[b, c]
            if row < 0:
                own[c] = -np.inf
                continue
            text, shape_row = (query, row) if of_shapes else (row, query)
            if of_shapes and c + 1 < count:
                after = rows[b, c + 1]
                prefetch_lines(codes.ctypes.data + after * nodes * width, nodes * width)
                prefetch_lines(scales.ctypes.data + after * nodes * scales.itemsize, nodes * scales.itemsize)
                if first_number[query] < first_number[query + 1]:
                    prefetch_lines(spectrum.ctypes.data + after * strengths, strengths)
            first, last = first_token[text], first_token[text + 1]
            own[c] = _interact(
                tokens, token_scales, token_starts, first, last, codes, scales, shape_row, products
            )
            for k in range(first_number[text], first_number[text + 1]):
                number[filled], shape[filled], slot[filled] = k, shape_row, c
                code, block = (
                    along.ctypes.data + k * width,
                    codes.ctypes.data + (shape_row + 1) * nodes * width,
                )
                multiply(code, block - BLOCK * width, width, along_starts[k], products.ctypes.data)
                for axis in range(_AXES):
                    scale = along_scales[k] * scales[shape_row, nodes - _AXES + axis]
                    attention[filled, axis] = scale * np.float32(products[BLOCK - _AXES + axis])
                filled += 1
        pair = (number[:filled], shape[:filled], slot[:filled])
        _add_evidence(
            quantities, weights, extent, spectrum, spectrum_scales, pair, attention, powers, bits, own
        )
    return out
