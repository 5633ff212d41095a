"""A memory of known pairs: what texts like this one turned out to mean, and which vectors answer any text.

For queries with known answers (keys ``t_b`` and values ``p_b``, embeddings of unit length or means of such)

    recall(q)  = sum_b softmax_b(sharpness * t_q . t_b) p_b
    hubness(c) = log( mean_b exp(beta * t_b . s_c) ) / beta

after the training-free cache of Tip-Adapter (Zhang et al., ECCV 2022) and the querybank normalization of
Bogolin et al. (CVPR 2022). The mean instead of a sum makes hubness independent of the bank's size, and ranks
alike. No weight is trained. Candidates are then scored by ``(q + a recall(q)) . s_c - λ hubness(c)``, which
`retrieval.memory.folding` makes an inner product.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from compiling import cached_njit
from durable.errors import DamagedFileError
from retrieval.storage import StoredArrays, read_folder, save_folder
from retrieval.validation import Checked, check_vectors, real

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

#: Chosen on the reward split of KiCad ``tiny``, see docs/retrieval.md.
SHARPNESS, BETA = 60.0, 30.0
FILE = "memory.safetensors"
_NOTHING = 1e-8  # of the nearest key's weight, below which a key's value is not even read
_FEW = 0.15  # share of the keys up to which adding their values one by one is faster than a matrix product
_ROWS, _PAIRS = 512, 2048  # of a block of scores, 4 MB, which stays in the processor's cache


def _temperature(name: str, value: Any) -> float:
    return real(name, value, least=1e-3, most=1e6)


class KnownPairs:
    """A bank of ``K`` known pairs, which may be empty and may grow.

    Any number of threads may read while one adds: a reader sees the pairs of before or those of after.

    Attributes:
        sharpness: Gamma of `recall`: how much nearer keys weigh more.
        beta: Of `hubness`: the higher, the more its nearest keys alone decide.
    """

    sharpness = Checked(_temperature)
    beta = Checked(_temperature)

    def __init__(
        self,
        keys: NDArray[np.float32],
        values: NDArray[np.float32],
        *,
        sharpness: float = SHARPNESS,
        beta: float = BETA,
    ) -> None:
        """Copies the pairs.

        Args:
            keys: ``[K, D]`` embeddings of known queries.
            values: ``[K, D]`` embedding, or mean of the embeddings, of what each turned out to mean.
            sharpness: See the class.
            beta: See the class.

        Raises:
            ValueError: If the arrays do not fit each other, a row is zero, not finite or of a length beyond
                1e-15 to 1e15, or a setting is out of range.
        """
        self.sharpness, self.beta = sharpness, beta
        keys, values = _checked_pairs(check_vectors(keys, "keys"), check_vectors(values, "values"))
        self._pairs = keys.copy(), values.copy()
        self._spare = self._pairs  # arrays of which the pairs are the first rows
        self._one_change = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """For `pickle` and `copy.deepcopy`."""
        with self._one_change:
            return {name: value for name, value in self.__dict__.items() if name != "_one_change"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._one_change = threading.Lock()

    @classmethod
    def empty(cls, width: int, *, sharpness: float = SHARPNESS, beta: float = BETA) -> KnownPairs:
        """A bank without pairs for embeddings of ``width``; it recalls nothing and has no hubs."""
        nothing = np.empty((0, width), np.float32)
        return cls(nothing, nothing, sharpness=sharpness, beta=beta)

    def __len__(self) -> int:
        return len(self._pairs[0])

    def __repr__(self) -> str:
        settings = f"sharpness={self.sharpness:g}, beta={self.beta:g}"
        return f"<KnownPairs: {len(self):,} pairs of width {self.width}, {settings}>"

    @property
    def width(self) -> int:
        """D."""
        return int(self._pairs[0].shape[1])

    @property
    def keys(self) -> Floats:
        """``[K, D]``, not to be written to."""
        return _read_only(self._pairs[0])

    @property
    def values(self) -> Floats:
        """``[K, D]``, not to be written to."""
        return _read_only(self._pairs[1])

    def resident_bytes(self) -> int:
        """Bytes of memory: ``8 D`` a pair, twice float32; up to twice as many after `add`."""
        return sum(part.nbytes for part in self._spare)

    def recall(self, queries: NDArray[np.float32], leave_out: NDArray[np.integer] | None = None) -> Floats:
        """Values that the known pairs recall for queries, in the space of the vectors: ``[Q, D]``.

        Args:
            queries: ``[Q, D]``, of unit length.
            leave_out: ``[Q, P]`` places of pairs that a query is not to recall, such as itself; -1 for none.

        Returns:
            Means of the values weighted by ``softmax(sharpness * query . key)``; zeros where no pair counts.

        Raises:
            ValueError: If a query is zero, not finite, or of another width, or places do not fit.
        """
        queries = self._checked(queries, "queries")
        keys, values = self._pairs
        own = _checked_places(leave_out, len(queries), len(keys))
        recalled = np.zeros(queries.shape, np.float32)
        for at in range(0, len(queries), _ROWS):
            rows = slice(at, at + _ROWS)
            some = queries[rows] * np.float32(self.sharpness)
            total = _Exponentials(len(some))
            for part, scores in _blocks(some, keys, None if own is None else own[rows]):
                weights, shrink = total.add(scores)
                recalled[rows] *= shrink[:, None]
                if np.count_nonzero(weights > _NOTHING) < _FEW * weights.size:
                    _add_weighted(weights, values[part], recalled[rows])
                else:
                    recalled[rows] += weights @ values[part]
            recalled[rows] /= np.where(total.sums > 0, total.sums, 1)[:, None]
        return recalled

    def hubness(self, vectors: NDArray[np.float32], leave_out: NDArray[np.integer] | None = None) -> Floats:
        """Hubness of each vector, its readiness to answer known queries whatever they ask: ``[N]``.

        A vector that known queries mean is rightly near to these: where it is in the bank itself, name its
        own pairs, or it looks like a hub.

        Args:
            vectors: ``[N, D]``, of unit length.
            leave_out: ``[N, P]`` the places of each vector's own pairs in the bank, -1 for none.

        Returns:
            ``log(mean(exp(beta * key . vector))) / beta`` over the pairs that count; 0 where there are none.

        Raises:
            ValueError: If a vector is zero, not finite, or of another width, or places do not fit.
        """
        vectors = self._checked(vectors, "vectors")
        keys = self._pairs[0]
        own = _checked_places(leave_out, len(vectors), len(keys))
        hubness = np.zeros(len(vectors), np.float32)
        if not len(keys):
            return hubness
        for at in range(0, len(vectors), _ROWS):
            rows = slice(at, at + _ROWS)
            some = vectors[rows] * np.float32(self.beta)
            total = _Exponentials(len(some))
            for _, scores in _blocks(some, keys, None if own is None else own[rows]):
                total.add(scores)
            counts = np.full(len(some), len(keys))
            if own is not None:
                counts -= (own[rows] >= 0).sum(axis=1)
            some_left = counts > 0
            logs = np.log(total.sums[some_left] / counts[some_left]) + total.highest[some_left]
            hubness[rows][some_left] = logs / self.beta
        return hubness

    def add(self, keys: NDArray[np.float32], values: NDArray[np.float32]) -> Ints:
        """Adds pairs at the end, such as what users confirmed.

        Args:
            keys: ``[n, D]``.
            values: ``[n, D]``.

        Returns:
            ``[n]`` their places in the bank.

        Raises:
            ValueError: As when the bank is made; it stays as it was.
        """
        keys, values = _checked_pairs(self._checked(keys, "keys"), self._checked(values, "values"))
        with self._one_change:
            count = len(self)
            if count + len(keys) > len(self._spare[0]):  # doubled, so that adding one by one costs little
                room = max(count + len(keys), 2 * count)
                grown = tuple(np.empty((room, self.width), np.float32) for _ in self._spare)
                for new, old in zip(grown, self._pairs, strict=True):
                    new[:count] = old
                self._spare = grown[0], grown[1]
            for spare, added in zip(self._spare, (keys, values), strict=True):
                spare[count : count + len(added)] = added
            filled = count + len(keys)
            self._pairs = self._spare[0][:filled], self._spare[1][:filled]
        return np.arange(count, filled)

    def save(self, folder: str | PathLike[str]) -> None:
        """Writes the bank into a folder of its own; killed at any moment, it holds the old bank or the new.

        Raises:
            ValueError: If the folder holds something else.
        """
        need = sum(part.nbytes for part in self._pairs)
        save_folder(Path(folder), self.write, {"known_pairs": self.header()}, need)

    @classmethod
    def load(cls, folder: str | PathLike[str], *, verify: bool = True) -> KnownPairs:
        """Reads a saved bank.

        Args:
            folder: Written by `save`.
            verify: Compare all checksums; sizes alone otherwise.

        Raises:
            ValueError: If there is none, or a file is damaged or missing (which).
        """

        def read(header: dict[str, Any], data: Path) -> KnownPairs:
            if "known_pairs" not in header:
                raise ValueError(f"{folder} holds no known pairs but {', '.join(header)}")
            return cls.read(header["known_pairs"], data)

        return read_folder(Path(folder), read, verify=verify)

    def header(self) -> dict[str, float]:
        """The settings, for a manifest."""
        return {"sharpness": self.sharpness, "beta": self.beta}

    def write(self, data: Path) -> None:
        """Writes the pairs beside other files of an index."""
        keys, values = self._pairs
        save_file({"keys": keys, "values": values}, data / FILE)

    @classmethod
    def read(cls, header: dict[str, float], data: Path) -> KnownPairs:
        """The bank that `write` wrote, with the settings of `header`; DamagedFileError if it is none."""
        pairs = StoredArrays(data / FILE)
        keys, values = (pairs.take(name, np.float32, (None, None)) for name in ("keys", "values"))
        try:
            return cls(keys, values, **header)
        except (TypeError, ValueError) as error:
            raise DamagedFileError(f"{data / FILE} is damaged: it holds no bank ({error})") from error

    def _checked(self, vectors: NDArray[np.float32], name: str) -> Floats:
        vectors = check_vectors(vectors, name)
        if vectors.shape[1] != self.width:
            raise ValueError(f"{name} of width {vectors.shape[1]}: the known pairs have width {self.width}")
        return vectors


class _Exponentials:
    """Sums of exponentials, block by block, under a maximum that moves: nothing overflows or vanishes.

    Attributes:
        highest: ``[n]`` highest exponent so far.
        sums: ``[n]`` sums of ``exp(exponent - highest)``.
    """

    def __init__(self, rows: int) -> None:
        self.highest = np.full(rows, -np.inf, np.float32)
        self.sums = np.zeros(rows, np.float32)

    def add(self, exponents: Floats) -> tuple[Floats, Floats]:
        """Adds a block ``[n, m]``, which is overwritten.

        Returns:
            ``exp(exponents - highest)``, and the factor ``[n]`` by which what was summed before shrinks.
        """
        highest = np.maximum(self.highest, exponents.max(axis=1))
        finite = np.where(np.isneginf(highest), 0, highest)  # all were left out so far
        shrink = np.exp(self.highest - finite)
        np.exp(np.subtract(exponents, finite[:, None], out=exponents), out=exponents)
        self.sums = self.sums * shrink + exponents.sum(axis=1)
        self.highest = highest
        return exponents, shrink


def _checked_pairs(keys: Floats, values: Floats) -> tuple[Floats, Floats]:
    if keys.shape != values.shape:
        raise ValueError(f"keys {keys.shape}, values {values.shape}: expected one value a key, each [K, D]")
    if not keys.shape[1]:
        raise ValueError(f"keys {keys.shape}: expected embeddings of one dimension or more")
    return keys, values


def _checked_places(places: NDArray[np.integer] | None, rows: int, pairs: int) -> Ints | None:
    if places is None:
        return None
    places = np.asarray(places)
    if places.ndim != 2 or len(places) != rows or (places.size and places.dtype.kind not in "iu"):
        raise ValueError(
            f"leave_out of shape {places.shape} and type {places.dtype}: expected whole numbers [{rows}, P]"
        )
    if places.size and not -1 <= places.min() <= places.max() < pairs:
        raise ValueError(
            f"leave_out from {places.min()} to {places.max()}: expected places among {pairs} pairs, or -1"
        )
    own: Ints = np.sort(places.astype(np.int64), axis=1)
    own[:, 1:][own[:, 1:] == own[:, :-1]] = -1  # named twice, left out once
    return own


def _blocks(rows: Floats, keys: Floats, own: Ints | None) -> Iterator[tuple[slice, Floats]]:
    """Products of rows ``[n, D]`` with all keys, some at a time; minus infinity at places ``own`` [n, P]."""
    for start in range(0, len(keys), _PAIRS):
        part = slice(start, start + _PAIRS)
        scores: Floats = rows @ keys[part].T
        if own is not None:
            row, column = np.nonzero((own >= start) & (own < start + scores.shape[1]))
            scores[row, own[row, column] - start] = -np.inf
        yield part, scores


@cached_njit(fastmath={"contract"})
def _add_weighted(weights: Floats, values: Floats, sums: Floats) -> None:
    """Adds values ``[m, D]`` to sums ``[n, D]`` by weights ``[n, m]``, those next to nothing aside."""
    for row in range(weights.shape[0]):
        total = sums[row]
        for pair in range(weights.shape[1]):
            weight = weights[row, pair]
            if weight > _NOTHING:
                value = values[pair]
                for column in range(len(total)):
                    total[column] += weight * value[column]


def _read_only(array: Floats) -> Floats:
    view = array.view()
    view.flags.writeable = False
    return view
