"""Beam and refine for a wanted recall, tuned on a sample of queries against exact search."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.ers.hierarchy import Floats, Ints
from retrieval.ers.state import CODES_PER_EXACT_SCORE, IndexState

NEIGHBORS = 10
"""The nearest vectors that are to be found."""
SAMPLE = 256
"""Queries of a sample: the mean recall of so many is known to about 0.005."""
_CHUNK = 16_384
_CLOSE = 1e-5  # scores are equal up to rounding


class SearchSettings(NamedTuple):
    """Number of leaves that a search scans and of candidates that it rescores per query."""

    beam: int
    refine: int


@dataclass(frozen=True)
class Sample:
    """Queries and what exact search finds.

    Attributes:
        queries: ``[Q, D]``.
        own: ``[Q]`` the id of a query that is a vector of the index and must not count as found, else -1.
        least: ``[Q]`` the score of the last of the exact nearest `NEIGHBORS`, the query itself aside.
    """

    queries: Floats
    own: Ints
    least: Floats


def own_sample(content: IndexState, seed: int) -> Sample:
    """Vectors of the index as queries, each of which looks for its nearest neighbors among the others."""
    rows = content.everything()
    chosen = np.random.default_rng([seed, len(rows)]).choice(rows, min(SAMPLE, len(rows)), replace=False)
    return _with_answers(content, content.vectors.read(np.sort(chosen)), content.ids.of_row[np.sort(chosen)])


def sample_of(content: IndexState, queries: Floats, seed: int) -> Sample:
    """At most `SAMPLE` of given queries ``[Q, D]``."""
    count = min(SAMPLE, len(queries))
    chosen = np.sort(np.random.default_rng([seed, len(queries)]).choice(len(queries), count, replace=False))
    return _with_answers(content, np.ascontiguousarray(queries[chosen]), np.full(count, -1))


def tune(content: IndexState, sample: Sample, recall: float) -> SearchSettings:
    """The cheapest settings whose recall on the sample is a standard error or more above the wanted one.

    The cost is counted in codes that are scanned, an exact score costing as much as 32, and not timed: equal
    indexes get equal settings. For each number of candidates the smallest beam is found by bisection, as long
    as the candidates alone do not cost more than the best settings so far.

    Args:
        content: The index.
        sample: Queries.
        recall: Share of the exact nearest `NEIGHBORS` that is to be found, above 0 and below 1.
    """
    count, leaf_count = len(content.ids), content.tree.leaf_count
    codes = count / leaf_count
    best, least_cost = SearchSettings(leaf_count, count), math.inf
    for refine in _candidate_counts(count):
        room = (least_cost - CODES_PER_EXACT_SCORE * refine) / codes
        if room < 1:
            break
        most = leaf_count if math.isinf(room) else min(leaf_count, int(room))
        beam = _least(most, lambda beam, refine=refine: _reaches(content, sample, beam, refine, recall))  # type: ignore[misc]
        if beam is not None and codes * beam + CODES_PER_EXACT_SCORE * refine < least_cost:
            best, least_cost = SearchSettings(beam, refine), codes * beam + CODES_PER_EXACT_SCORE * refine
    return best


def _candidate_counts(count: int) -> Iterator[int]:
    """Numbers of candidates, each about 1.6 times the one before, up to all, whose search is exact."""
    sizes = (base * 10**power for power in itertools.count(1) for base in (1.6, 2.5, 4, 6, 10))
    yield from (int(size) for size in itertools.takewhile(lambda size: size < count, sizes))
    yield count


def _least(most: int, reaches: Callable[[int], bool]) -> int | None:
    """The least number up to ``most`` that reaches it, to a tenth; None if ``most`` itself does not."""
    if not reaches(most):
        return None
    low, high = 0, most
    while high - low > max(1, high // 10):
        middle = min(max(round(math.sqrt(max(low, 1) * high)), low + 1), high - 1)
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high


def _reaches(content: IndexState, sample: Sample, beam: int, refine: int, recall: float) -> bool:
    wanted = min(NEIGHBORS + 1, len(content.ids))
    ids, scores = content.search(sample.queries, wanted, beam, max(refine, wanted))
    hits = (ids >= 0) & (ids != sample.own[:, None]) & (scores >= sample.least[:, None])
    shares = np.minimum(hits.sum(axis=1), NEIGHBORS) / min(NEIGHBORS, _others(content, sample))
    return bool(shares.mean() - shares.std() / math.sqrt(len(shares)) >= recall)


def _others(content: IndexState, sample: Sample) -> int:
    """Vectors that a query may find."""
    return len(content.ids) - int(sample.own[0] >= 0)


def _with_answers(content: IndexState, queries: Floats, own: Ints) -> Sample:
    """The sample; the exact scores are taken in one pass over the vectors."""
    rows = content.everything()
    nearest = np.full((len(queries), NEIGHBORS), -np.inf, np.float32)
    for at in range(0, len(rows), _CHUNK):
        some = rows[at : at + _CHUNK]
        scores: NDArray[np.float32] = queries @ content.vectors.read(some).T
        scores[own[:, None] == content.ids.of_row[some]] = -np.inf
        both = np.concatenate([nearest, scores], axis=1)
        nearest = -np.partition(-both, NEIGHBORS - 1, axis=1)[:, :NEIGHBORS]
    least = np.where(np.isneginf(nearest), np.inf, nearest).min(axis=1)  # fewer may be there
    return Sample(queries, own, (least - _CLOSE * np.abs(nearest.max(axis=1))).astype(np.float32))
