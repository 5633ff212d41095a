"""Explanation of an answer: where each word looks on its shape, and which known pairs spoke for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from experiments.data.attention_maps import points_of_patches, word_lights
from models import AlignmentMemory, AttentionState, Calibration
from models.haf import CANDIDATE_FIELDS

if TYPE_CHECKING:
    from experiments.shape_search.searcher import Considered, Searcher

STEPS = 5
"""Strengths between none and all of a calibration, both counted."""
MOST_PAIRS = 6


@dataclass(frozen=True)
class KnownPair:
    """A known text that a query recalls, with the shapes that it meant.

    Attributes:
        text: The caption.
        weight: Share of the recall that is its own.
        logits: What it adds to the recall of the pair at hand.
        shapes: Ids of the shapes that it meant.
        rows: Their rows in the library, -1 where they are not in it.
    """

    text: str
    weight: float
    logits: float
    shapes: tuple[str, ...]
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Explanation:
    """How a query of ``T`` words found a shape, under ``S`` strengths of its calibration.

    Attributes:
        row: Row of the shape in the library.
        rank: Its rank under the whole calibration among the candidates, from 1.
        words: ``T``.
        strengths: ``S`` shares of the calibration, from 0 to 1; 0 alone where there is none.
        scores: ``[S]`` logits.
        weights: ``[S, T]`` of the words in the score; sum to one.
        gates: ``[S, T, L]`` of the levels, fine to coarse; sum to one.
        lights: By `experiments.data.attention_maps.LIGHTS`, ``[S, T, N_0]``, the attention of one point of
            each patch.
        calibration: In words.
        recall: Logits of what the memory recalls for the pair; None without a memory.
        strength: By which the recall is added to the score under the whole calibration.
        hubness: Logits of the shape, which are subtracted with the strength ``against``.
        against: See ``hubness``.
        pairs: Known pairs that speak loudest, the loudest first.
    """

    row: int
    rank: int
    words: tuple[str, ...]
    strengths: tuple[float, ...]
    scores: Tensor
    weights: Tensor
    gates: Tensor
    lights: dict[str, Tensor]
    calibration: str
    recall: float | None
    strength: float
    hubness: float
    against: float
    pairs: tuple[KnownPair, ...]


@torch.no_grad()
def explain(searcher: Searcher, query: str, row: int | None = None, where: str | None = None) -> Explanation:
    """Explains why words found a shape.

    Args:
        searcher: What is searched.
        query: The words.
        row: Row of the shape; None for the best answer.
        where: Filter of the candidates that the shape stood among.

    Raises:
        UserError: As `Searcher.search`.
    """
    considered = searcher.consider(query, [] if row is None else [row], where)
    attention, haf = considered.attention, searcher.model.haf
    calibration = searcher.calibrate(considered)
    plain = haf.fuse(attention).score[0]
    final = plain if calibration is None else _final(searcher, attention, calibration, plain)
    order = final.argsort(descending=True, stable=True).tolist()
    place = order[0] if row is None else considered.rows.tolist().index(row)
    chosen = int(considered.rows[place])
    strengths = torch.linspace(0, 1, STEPS) if calibration is not None else torch.zeros(1)
    steps = [0] * len(strengths)
    state = _of_candidate(attention, place)[steps]
    changed = None
    if calibration is not None:
        if place != int(plain.argmax()):
            calibration = _without_association(calibration)
        changed = calibration[steps].apply(lambda part: part * strengths.view(-1, *[1] * (part.ndim - 1)))
    output = haf.fuse(state, changed)
    patches = haf.level_sizes[0]
    patch = searcher.library.shapes["patch"][chosen].long()
    points = points_of_patches(patch.unsqueeze(0), patches).expand(len(steps), -1)
    lights = word_lights(haf, output, state.region[:, 0, :patches], points, changed)
    count, memory = len(considered.words), searcher.library.memory
    return Explanation(
        row=chosen,
        rank=1 + order.index(place),
        words=considered.words,
        strengths=tuple(strengths.tolist()),
        scores=output.score[:, 0],
        weights=output.token_weights[:, :count],
        gates=output.gates[:, :count],
        lights={name: light[:, :count] for name, light in lights.items()},
        calibration=searcher.calibrated,
        recall=None if memory is None else float(attention.recall[0, place]),
        strength=0.0 if calibration is None else float(calibration.memory[0]),
        hubness=float(attention.hubness[0, place]),
        against=0.0 if calibration is None else float(calibration.hubness[0]),
        pairs=() if memory is None else _spoken(searcher, memory, considered, chosen),
    )


def _final(searcher: Searcher, attention: AttentionState, calibration: Calibration, plain: Tensor) -> Tensor:
    """Scores ``[C]`` of all candidates under a calibration that acts on the best of ``plain`` ``[C]``."""
    paired = attention.clone(recurse=False)
    paired.paired = plain.argmax().unsqueeze(0)
    return searcher.model.haf.fuse(paired, calibration).score[0]


def _of_candidate(attention: AttentionState, place: int) -> AttentionState:
    """The state of one candidate alone."""
    found = attention.clone(recurse=False)
    for name in CANDIDATE_FIELDS:
        found.set(name, attention.get(name)[:, place : place + 1])
    found.paired = torch.zeros_like(attention.paired)
    return found


def _without_association(calibration: Calibration) -> Calibration:
    found = calibration.clone(recurse=False)
    found.association = torch.zeros_like(calibration.association)
    return found


def _spoken(
    searcher: Searcher, memory: AlignmentMemory, considered: Considered, row: int
) -> tuple[KnownPair, ...]:
    """Known pairs by how much of the text's recall is theirs, see `AlignmentMemory.recall`."""
    header = searcher.library.header
    weight = (memory.sharpness * considered.embedding @ memory.text.T).softmax(-1)[0]
    most = weight.topk(min(MOST_PAIRS, len(weight)))
    shape = searcher.library.shapes["embedding"][row]
    scale = 0.5 * float(searcher.model.logit_scale)
    found = []
    for share, text in zip(most.values.tolist(), most.indices.tolist(), strict=True):
        meant = memory.pairs[memory.pairs[:, 0] == text, 1].tolist()
        logits = scale * share * float(memory.meanings("text")[text] @ shape)
        found.append(
            KnownPair(
                header.known_texts[text],
                share,
                logits,
                tuple(header.known_ids[one] for one in meant),
                tuple(header.known_rows[one] for one in meant),
            )
        )
    return tuple(found)
