"""Rankings with a memory, beside loops over queries and answers; what a bank says of a gallery."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from experiments.data.bank import Bank, remember
from experiments.data.corpus import Corpus
from experiments.evaluation.directions import Direction, directions_of
from experiments.evaluation.fixed_strengths import Strengths
from experiments.evaluation.gallery import Gallery, encode_split
from experiments.evaluation.pair_scores import Calibrations
from experiments.evaluation.retrieval_quality import evaluate
from experiments.settings.schema import EvalConfig
from models import AlignmentModel, Calibration, PointHierarchy, TextEmbedding
from models.library import FINE_BETA
from models.memory import BETA

CPU = torch.device("cpu")
KNOWN, ASKED = torch.arange(7), torch.arange(7, 16)
CONFIG = EvalConfig(candidates=4, batch_size=4, grounding=0)


@pytest.fixture(scope="module")
def bank(model: AlignmentModel, corpus: Corpus) -> Bank:
    return remember(model, corpus, KNOWN, CPU)


@pytest.fixture(scope="module")
def remembering(model: AlignmentModel, corpus: Corpus, bank: Bank) -> Gallery:
    return encode_split(model, corpus, ASKED, CPU, bank)


def test_a_bank_holds_the_pairs_of_its_shapes(corpus: Corpus, bank: Bank) -> None:
    """All captions of the known shapes and none besides, each beside the shapes that it is a caption of."""
    texts = corpus.unique_texts(KNOWN)
    assert (len(bank.memory.text), len(bank.memory.shape)) == (len(texts), len(KNOWN))
    found = {(int(texts[text]), int(KNOWN[shape])) for text, shape in bank.memory.pairs.tolist()}
    expected = {(t, s) for s in KNOWN.tolist() for t in corpus.texts_of[s].tolist() if t >= 0}
    assert found == expected
    assert len(bank.memory) == len(expected), "no pair is there twice"
    assert torch.equal(bank.memory.text, bank.text.embedding)
    assert torch.equal(bank.memory.shape, bank.shapes.embedding)


def plain_recall(queries: Tensor, known: Tensor, answers: Tensor, pairs: list[list[int]]) -> Tensor:
    """What queries recall, one by one: ``pairs`` are rows of known queries and of answers."""
    rows = []
    for query in queries:
        weights = [math.exp(40.0 * float(query @ one)) for one in known]
        total = torch.zeros_like(query)
        for number, weight in enumerate(weights):
            own = [answers[answer] for asks, answer in pairs if asks == number]
            total += weight * torch.stack(own).mean(0)
        rows.append(total / sum(weights))
    return torch.stack(rows)


def plain_hubness(candidates: Tensor, known: Tensor) -> Tensor:
    return torch.tensor(
        [
            math.log(sum(math.exp(BETA * float(one @ k)) for k in known) / len(known)) / BETA
            for one in candidates
        ]
    )


@torch.no_grad()
def haf_score(model: AlignmentModel, text: TextEmbedding, shapes: PointHierarchy, t: int, s: int) -> float:
    """HAF's score of one pair by itself."""
    state = model.attend(text.select(torch.tensor([t])), shapes, torch.tensor([[s]]))
    return float(model.haf.fuse(state).score)


@pytest.fixture(scope="module")
def pair_scores(model: AlignmentModel, remembering: Gallery) -> list[list[float]]:
    """HAF's scores of captions and shapes of the gallery, one by one."""
    texts, shapes = (range(count) for count in remembering.similarity.shape)
    return [[haf_score(model, remembering.text, remembering.shapes, t, s) for s in shapes] for t in texts]


@torch.no_grad()
def test_what_a_bank_says_of_a_gallery(model: AlignmentModel, bank: Bank, remembering: Gallery) -> None:
    known, memory = bank.memory, remembering.memory
    assert memory is not None
    text, shape = remembering.text.embedding, remembering.shapes.embedding
    pairs = known.pairs.tolist()
    torch.testing.assert_close(
        memory.recalled, plain_recall(text, known.text, known.shape, pairs), atol=1e-4, rtol=1e-4
    )
    flipped = [[s, t] for t, s in pairs]
    torch.testing.assert_close(
        memory.library.recalled, plain_recall(shape, known.shape, known.text, flipped), atol=1e-4, rtol=1e-4
    )
    for s in range(2):  # all known texts and shapes are among the nearest, as there are fewer than 32
        scores = [haf_score(model, bank.text, remembering.shapes, t, s) for t in range(len(known.text))]
        mean = sum(math.exp(FINE_BETA * score) for score in scores) / len(scores)
        assert float(memory.library.hubness[s]) == pytest.approx(math.log(mean) / FINE_BETA, abs=1e-4)
    for t in range(2):
        scores = [haf_score(model, remembering.text, bank.shapes, t, s) for s in range(len(KNOWN))]
        mean = sum(math.exp(FINE_BETA * score) for score in scores) / len(scores)
        assert float(memory.caption_hubness[t]) == pytest.approx(math.log(mean) / FINE_BETA, abs=1e-4)


@pytest.mark.parametrize("name", ["text_to_shape", "shape_to_text"])
@pytest.mark.parametrize(("recall", "hubness"), [(0.0, 0.0), (0.75, 0.0), (0.0, 1.5), (1.0, 0.5)])
@torch.no_grad()
def test_ranks_are_those_of_loops(
    model: AlignmentModel,
    corpus: Corpus,
    remembering: Gallery,
    pair_scores: list[list[float]],
    name: str,
    recall: float,
    hubness: float,
) -> None:
    memory = remembering.memory
    assert memory is not None
    direction = directions_of(model, remembering, CONFIG)[name]
    text, shape = remembering.text.embedding, remembering.shapes.embedding
    texts = corpus.unique_texts(ASKED).tolist()
    known = memory.library.memory
    shape_hubness, text_hubness = plain_hubness(shape, known.text), plain_hubness(text, known.shape)
    scale = float(model.logit_scale)
    found = direction.ranks("search", recall, hubness), direction.ranks("rerank", recall, hubness)
    for number, index in enumerate(ASKED.tolist()):
        first = texts.index(int(corpus.texts_of[index, 0]))
        by_text = name == "text_to_shape"
        if by_text:
            answers = list(range(len(ASKED)))
            right = [texts[first] in corpus.texts_of[i].tolist() for i in ASKED.tolist()]
            pairs = [(first, s) for s in answers]
        else:
            answers = list(range(len(texts)))
            right = [t in corpus.texts_of[index].tolist() for t in texts]
            pairs = [(t, number) for t in answers]

        def cosine(t: int, s: int, by_text: bool = by_text) -> float:
            asks, answer = (
                (memory.recalled[t], shape[s]) if by_text else (memory.library.recalled[s], text[t])
            )
            hub = float(shape_hubness[s] if by_text else text_hubness[t])
            return float(text[t] @ shape[s]) + recall * float(asks @ answer) - hubness * hub

        def logit(t: int, s: int, by_text: bool = by_text) -> float:
            both = float(memory.recalled[t] @ shape[s] + text[t] @ memory.library.recalled[s])
            hub = float(memory.library.hubness[s] if by_text else memory.caption_hubness[t])
            return pair_scores[t][s] + recall * scale / 2 * both - hubness * hub

        def rank(scores: list[float], correct: list[bool]) -> int:
            best = max(score for score, r in zip(scores, correct, strict=True) if r)
            return 1 + sum(s >= best and not r for s, r in zip(scores, correct, strict=True))

        exact = [float(text[t] @ shape[s]) for t, s in pairs]
        assert found[0][number] == rank([cosine(*pair) for pair in pairs], right)
        candidates = sorted(range(len(answers)), key=lambda a: -exact[a])[: CONFIG.candidates]
        if any(right[a] for a in candidates):
            expected = rank([logit(*pairs[a]) for a in candidates], [right[a] for a in candidates])
        else:
            expected = max(rank(exact, right), CONFIG.candidates + 1)
        assert found[1][number] == expected


@pytest.mark.parametrize("candidates", [3, 5, 40])
def test_fewer_shapes_than_candidates_keep_to_their_own_direction(
    model: AlignmentModel, corpus: Corpus, bank: Bank, candidates: int
) -> None:
    """Four shapes and six captions: the directions differ in how many candidates there are."""
    few = encode_split(model, corpus, torch.tensor([7, 8, 9, 11]), CPU, bank)
    sizes = {"text_to_shape": 4, "shape_to_text": 6}
    asked = directions_of(model, few, dataclasses.replace(CONFIG, candidates=candidates))
    for name, direction in asked.items():
        assert direction.candidates.shape == (4, min(candidates, sizes[name]))
        for query in range(4):
            answers = direction.candidates[query].tolist()
            pairs = [(int(few.first[query]), a) if name == "text_to_shape" else (a, query) for a in answers]
            expected = [haf_score(model, few.text, few.shapes, *pair) for pair in pairs]
            assert direction.plain[query].tolist() == pytest.approx(expected, abs=1e-4)


def test_without_a_bank_strengths_change_nothing(
    model: AlignmentModel, corpus: Corpus, remembering: Gallery
) -> None:
    gallery = encode_split(model, corpus, ASKED, CPU)
    assert gallery.memory is None
    for name, direction in directions_of(model, gallery, CONFIG).items():
        with_bank = directions_of(model, remembering, CONFIG)[name]
        for stage in ("search", "rerank"):
            assert direction.ranks(stage, 1.0, 1.0).tolist() == direction.ranks(stage).tolist()
            assert direction.ranks(stage).tolist() == with_bank.ranks(stage).tolist()
        assert direction.calibrated().tolist() == direction.ranks("rerank").tolist()


def strong(gallery: Gallery, memory: float, hubness: float) -> Calibrations:
    """The same strengths for every caption, and attention as it is."""
    count, dims = len(gallery.similarity), {"levels": 3, "heads": 2, "regions": 4}
    calibration = Calibration.identity(count, tokens=gallery.text.tokens.shape[1], **dims)
    calibration.memory, calibration.hubness = calibration.memory + memory, calibration.hubness + hubness
    nothing = torch.zeros(count)
    return Calibrations(calibration, gallery.nearest_shapes(1).squeeze(1), nothing)


def test_an_agent_of_one_strength_is_that_strength(model: AlignmentModel, remembering: Gallery) -> None:
    made = strong(remembering, 0.75, 1.5)
    assert not made.changed.any(), "its attention is what it was"
    for direction in directions_of(model, remembering, CONFIG, made).values():
        assert direction.calibrated().tolist() == direction.ranks("rerank", 0.75, 1.5).tolist()


def test_a_shape_takes_the_mean_strength_of_its_captions(model: AlignmentModel, remembering: Gallery) -> None:
    made = strong(remembering, 0.0, 0.0)
    made.calibration.memory = torch.arange(float(len(remembering.similarity)))
    asked = directions_of(model, remembering, CONFIG, made)
    backward = asked["shape_to_text"]
    torch.testing.assert_close(backward.strengths[:, 0], backward.candidates.float().mean(1))
    assert torch.equal(asked["text_to_shape"].strengths[:, 0], remembering.first.float())


def test_rows_of_the_memory_are_there_where_strengths_are(
    model: AlignmentModel, remembering: Gallery
) -> None:
    asked: dict[str, Direction] = directions_of(model, remembering, CONFIG)
    rows = evaluate(asked)
    assert rows.keys() == {"baseline", "reranked", "ceiling"}
    rest = {(stage, name): Strengths(0.0, 0.0, 0.0, 0.0) for stage in ("search", "rerank") for name in asked}
    found = evaluate(asked, rest)  # type: ignore[arg-type]
    assert found["memory"] == rows["baseline"]
    assert found["fixed"] == rows["reranked"]
    for name in rows:
        assert found[name] == rows[name]
