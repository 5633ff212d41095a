"""The light re-ranker's scores for lists of candidates, compiled: see `models.light` for the formula.

One matrix product a query, on codes of 8 bits that are widened as they are gathered. Exponentials
are evaluated for all numbers and candidates of a query together, by a polynomial that the compiler turns into
vector instructions (a library call for each would cost more than all else).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from compiling import kept
from models.evidence import CHANNELS, COUNT_OFFSETS, EVIDENCE, SPECTRUM_GAIN, WIDTHS
from models.light import LightShapes, LightTexts

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
_AXES = 3
_FAST = {"reassoc", "contract", "nsz", "nnan", "arcp"}
_LOG2E = float(np.log2(np.e))
_OFFSETS = tuple(float(offset) for offset in COUNT_OFFSETS)
_INVERSE = tuple(1.0 / width for width in WIDTHS)
_GAIN = float(SPECTRUM_GAIN)
_CHANNELS = int(CHANNELS)
_LARGEST_OCTAVE = 12.0  # as in `models.evidence`
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
    return _score(
        texts.tokens,
        texts.first_token,
        texts.along,
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
    queries: NDArray[np.int64], rows: NDArray[np.int64], asked: int, there: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Contiguous rows within bounds: the compiled code does not look."""
    queries = np.ascontiguousarray(queries, np.int64)
    rows = np.ascontiguousarray(rows, np.int64)
    if queries.ndim != 1 or rows.ndim != 2 or len(rows) != len(queries):
        raise ValueError(f"queries {queries.shape}, candidates {rows.shape}: expected [B] and [B, C]")
    if queries.size and not 0 <= queries.min() <= queries.max() < asked:
        raise ValueError(f"query {queries.max()}: expected 0 to {asked - 1}")
    if rows.size and rows.max() >= there:
        raise ValueError(f"candidate {rows.max()}: expected at most {there - 1}")
    return queries, rows


@kept(fastmath=_FAST)
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


@kept(fastmath=_FAST)
def _strength(spectrum: NDArray[np.uint8], repetitions: np.float32) -> np.float32:
    """Linear interpolation of ``[F]`` strengths of 1 to F repetitions; zero at none and beyond F."""
    last = len(spectrum)
    place = min(max(repetitions, np.float32(0.0)), np.float32(last + 1))
    below = np.int64(place)
    share = place - np.float32(below)
    low = np.float32(spectrum[below - 1]) if 1 <= below <= last else np.float32(0.0)
    high = np.float32(spectrum[below]) if below < last else np.float32(0.0)
    return low + share * (high - low)


@kept(fastmath=_FAST)
def _widen(codes: NDArray[np.int8], scales: NDArray[np.float32], row: int, out: NDArray[np.float32]) -> None:
    """A shape's nodes as floats ``[N, d]``."""
    source = codes[row]
    for node in range(source.shape[0]):
        scale = scales[row, node]
        for column in range(source.shape[1]):
            out[node, column] = np.float32(source[node, column]) * scale


@kept(fastmath=_FAST)
def _best(products: NDArray[np.float32], first: int, nodes: int, best: NDArray[np.float32]) -> None:
    """The largest of ``nodes`` rows of products, column by column."""
    columns = products.shape[1]
    for t in range(columns):
        best[t] = products[first, t]
    for node in range(first + 1, first + nodes):
        row = products[node]
        for t in range(columns):
            best[t] = max(best[t], row[t])


@kept(fastmath=_FAST)
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
            powers[i] = min(-ratio, np.float32(_LARGEST_OCTAVE))
            powers[count + i] = np.float32(2 * _LOG2E) * min(max(ratio, np.float32(-20)), np.float32(20))
            powers[2 * count + i] = np.float32(_LOG2E) * (attention[j, axis] - peak)
            for w in range(len(_INVERSE)):
                x = ratio * np.float32(_INVERSE[w])
                powers[(3 + w) * count + i] = np.float32(-_LOG2E) * x * x
    _exp2(powers, bits, count * (_EXPONENTS + 1))
    for j in range(pairs):
        k, row = number[j], shape[j]
        value, weight = quantities[k, 0], weights[k]
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
            found += weight[base + len(_INVERSE)] * (grown - 1) / (grown + 1)
            total += found * powers[2 * count + i]
            mass += powers[2 * count + i]
        out[slot[j]] += total / mass


@kept(fastmath=_FAST)
def _interact_with_shapes(asked: Floats, wide: Floats, own: Floats, best: Floats) -> None:
    """Late interaction ``[C]`` of a text's tokens ``[T, d]`` with shapes ``[C, N, d]``."""
    count, nodes, width = wide.shape
    products = np.dot(wide.reshape(count * nodes, width), asked.T)
    for c in range(count):
        _best(products, c * nodes, nodes, best)
        total = np.float32(0)
        for t in range(products.shape[1]):
            total += best[t]
        own[c] = total


@kept(fastmath=_FAST)
def _interact_with_texts(
    tokens: Floats, first: Ints, rows: Ints, nodes: Floats, own: Floats, gathered: Floats, best: Floats
) -> None:
    """Late interaction ``[C]`` of a shape's nodes ``[N, d]`` with the tokens of texts ``[C]``."""
    filled = 0
    for c in range(len(rows)):
        row = max(rows[c], 0)
        for token in range(first[row], first[row + 1]):
            gathered[filled] = tokens[token]
            filled += 1
    products = np.dot(nodes, gathered[:filled].T)
    _best(products, 0, len(nodes), best)
    filled = 0
    for c in range(len(rows)):
        row = max(rows[c], 0)
        total = np.float32(0)
        for _ in range(first[row + 1] - first[row]):
            total += best[filled]
            filled += 1
        own[c] = total


@kept(fastmath=_FAST)
def _look(along: Floats, node: Floats) -> np.float32:
    total = np.float32(0)
    for column in range(len(along)):
        total += along[column] * node[column]
    return total


@kept()
def _most(first: Ints) -> int:
    """The largest piece of those that begin at ``first``."""
    most = 1
    for piece in range(len(first) - 1):
        most = max(most, first[piece + 1] - first[piece])
    return most


@kept(fastmath=_FAST)
def _score(
    tokens: Floats,
    first_token: Ints,
    along: Floats,
    weights: Floats,
    quantities: Floats,
    first_number: Ints,
    codes: NDArray[np.int8],
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
    _, nodes, width = codes.shape
    out = np.zeros((batch, count), np.float32)
    wide = np.empty((count if of_shapes else 1, nodes, width), np.float32)
    gathered = np.empty((1 if of_shapes else count * _most(first_token), width), np.float32)
    best = np.empty(max(_most(first_token), len(gathered)), np.float32)
    pairs = count * _most(first_number)
    number, shape, slot = np.empty(pairs, np.int64), np.empty(pairs, np.int64), np.empty(pairs, np.int64)
    attention = np.empty((pairs, _AXES), np.float32)
    powers = np.empty(pairs * _AXES * (_EXPONENTS + 1), np.float32)
    bits = np.empty(len(powers), np.int32)
    for b in range(batch):
        query, own = queries[b], out[b]
        for c in range(len(wide)):
            _widen(codes, scales, max(rows[b, c], 0) if of_shapes else query, wide[c])
        if of_shapes:
            _interact_with_shapes(tokens[first_token[query] : first_token[query + 1]], wide, own, best)
        else:
            _interact_with_texts(tokens, first_token, rows[b], wide[0], own, gathered, best)
        filled = 0
        for c in range(count):
            row = max(rows[b, c], 0)
            text, seen = (query, row) if of_shapes else (row, query)
            place = wide[c if of_shapes else 0]
            for k in range(first_number[text], first_number[text + 1]):
                number[filled], shape[filled], slot[filled] = k, seen, c
                for axis in range(_AXES):
                    attention[filled, axis] = _look(along[k], place[nodes - _AXES + axis])
                filled += 1
        pair = (number[:filled], shape[:filled], slot[:filled])
        _add_evidence(
            quantities, weights, extent, spectrum, spectrum_scales, pair, attention, powers, bits, own
        )
        own[rows[b] < 0] = -np.inf
    return out
