"""Controls of the queries: a stream in which few shapes are popular, and all test queries known at once."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from align3d.console.progress import Tracker
from experiments.console.process import generator
from experiments.data.bank import Bank
from experiments.evaluation.directions import Direction, Ranks
from experiments.evaluation.gallery import STAGES, Stage
from experiments.memory_controls.control_options import Settings
from experiments.memory_controls.examined_run import ROWS, Asked, Case, Examined
from models import AlignmentMemory
from retrieval import ranks_from_scores

SHARPNESSES: dict[Stage, tuple[float, ...]] = {
    "search": (5.0, 10.0, 20.0, 40.0, 80.0),
    "rerank": (0.25, 0.5, 1.0, 2.0, 4.0),
}
"""Inverse temperatures to choose from, of cosines and of HAF's logits."""
ROUNDS = 20
"""Of Sinkhorn's normalizations."""


def by_popularity(examined: Examined, settings: Settings) -> list[Case]:
    """Queries by Zipf's law: one value for each random order of popularity, of a stream without end.

    The strengths are those chosen on the reward split, where every query counts once.
    """
    whole, shapes = examined.whole, len(examined.test.indices)
    draws = generator(settings.seed, "memory", "popularity")
    order = torch.stack([torch.randperm(shapes, generator=draws) for _ in range(settings.orders)])
    share = zipf(shapes, settings.exponent)[order.numpy()]  # [orders, M]; query m is of shape m either way
    values = {key: {row: share @ found for row, found in rows.items()} for key, rows in whole.values.items()}
    skewed = dataclasses.replace(
        whole, name=f"Zipf({settings.exponent:g}), {settings.orders:,} orders", values=values, spread=True
    )
    return [dataclasses.replace(whole, name="every query once"), skewed]


def zipf(count: int, exponent: float) -> NDArray[np.float64]:
    """Shares ``[count]`` of the first, second, ... under Zipf's law."""
    share = np.arange(1, count + 1, dtype=np.float64) ** -exponent
    return share / share.sum()


def transductive(examined: Examined, settings: Settings) -> list[Case]:
    """Cases with all test queries at hand. They are no results: a query does not wait for the others.

    Hubness over the test queries themselves instead of known ones; a softmax over the test queries (inverted
    softmax, Smith et al., ICLR 2017); Sinkhorn's normalization of the test matrix. Strengths and inverse
    temperatures are chosen on the reward split, with its queries at hand likewise.
    """
    reward, test = (
        asked.gallery.remembering(examined.model, _queries_as_bank(asked))
        for asked in (examined.reward, examined.test)
    )
    cases = [
        dataclasses.replace(examined.whole, name="the memory (no test query is known)"),
        examined.measured("hubness over the test queries", (reward, test)),
    ]
    with Tracker("normalizing the test matrix", 2, "methods") as tracker:
        for name, rounds in (("inverted softmax", 1), ("Sinkhorn", ROUNDS)):
            cases.append(_normalized_case(examined, name, rounds))
            tracker.advance()
    return cases


def _queries_as_bank(asked: Asked) -> Bank:
    """A split's own texts and shapes without pairs: they tell of hubness and have nothing to recall."""
    text, shapes = asked.gallery.text, asked.gallery.shapes
    none = torch.zeros(0, 2, dtype=torch.int64, device=text.embedding.device)
    return Bank(AlignmentMemory(text.embedding, shapes.embedding, none), text, shapes)


def _normalized_case(examined: Examined, name: str, rounds: int) -> Case:
    """Both stages normalized over the test queries, at the inverse temperatures best on the reward split."""
    values = {key: dict(rows) for key, rows in examined.whole.values.items()}
    for key in values:
        for stage in STAGES:
            reward, test = examined.reward.plain[key], examined.test.plain[key]
            earned = [
                float((1 / normalized(reward, stage, beta, rounds)).mean()) for beta in SHARPNESSES[stage]
            ]
            beta = SHARPNESSES[stage][int(np.argmax(earned))]
            row = next(row for row, what in ROWS.items() if what == (stage, True))
            values[key][row] = (normalized(test, stage, beta, rounds) == 1).astype(np.float64)
    return Case(name, values)


def normalized(direction: Direction, stage: Stage, beta: float, rounds: int) -> Ranks:
    """Ranks ``[Q]`` after the scores were normalized over queries and answers, see `sinkhorn`."""
    if stage == "search":
        score = sinkhorn(direction.similarity, beta, rounds)
        return ranks_from_scores(score.numpy(), direction.positives.numpy())
    scores = torch.full_like(direction.similarity, -torch.inf)
    scores.scatter_(1, direction.candidates, direction.plain)
    return direction.reranked(sinkhorn(scores, beta, rounds).gather(1, direction.candidates))


def sinkhorn(scores: Tensor, beta: float, rounds: int) -> Tensor:
    """Log of a matrix that is normalized over queries and answers in turns, over queries last.

    Args:
        scores: ``[Q, N]``; minus infinity where a query does not ask.
        beta: Inverse temperature.
        rounds: Normalizations over queries; after one it is the inverted softmax.

    Returns:
        ``[Q, N]``.
    """
    log = beta * scores
    for number in range(rounds):
        if number:
            log = log - log.logsumexp(1, keepdim=True)
        total = log.logsumexp(0, keepdim=True)
        log = log - total.masked_fill(total == -torch.inf, 0.0)  # what no query asks for
    return log
