"""The library in HAF's score: nothing at strengths of zero, its formula at others, loops beside batches."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from models import (
    SIZES,
    AlignmentMemory,
    AlignmentModel,
    Calibration,
    Library,
    LibraryEvidence,
    PointHierarchy,
    TextEmbedding,
    TextFeatures,
    fine_hubness,
    prepare_shapes,
)
from models.library import FINE_BETA, pair_recall, skewness
from models.memory import CONTEXT, KNOWN, Side

CONFIG = dataclasses.replace(SIZES["tiny"], dropout=0.0, color_dropout=0.0, token_dropout=0.0)
TEXTS, SHAPES = 7, 6


@pytest.fixture(scope="module")
def model() -> AlignmentModel:
    torch.manual_seed(0)
    return AlignmentModel(CONFIG, text_width=12).eval()


@pytest.fixture(scope="module")
def encoded(model: AlignmentModel) -> tuple[TextEmbedding, PointHierarchy]:
    generator = torch.Generator().manual_seed(1)
    xyz = torch.rand(SHAPES, 256, 3, generator=generator) - 0.5
    rgb = torch.randint(0, 256, (SHAPES, 256, 3), generator=generator, dtype=torch.uint8)
    shapes = prepare_shapes(xyz, rgb, torch.rand(SHAPES, 3, generator=generator) + 0.1, CONFIG)
    mask = torch.arange(5) < torch.tensor([5, 4, 1, 3, 5, 2, 5]).unsqueeze(1)
    text = TextFeatures(
        tokens=torch.randn(TEXTS, 5, 12, generator=generator) * mask.unsqueeze(-1),
        mask=mask,
        quantities=torch.full((TEXTS, 5, 2), torch.nan),
        strings=[["w"] * int(row.sum()) for row in mask],
    )
    with torch.no_grad():
        return model.encode_text(text), model.encode_shapes(shapes)


def bank(encoded: tuple[TextEmbedding, PointHierarchy]) -> AlignmentMemory:
    """Known pairs that look like the queries, but are not they."""
    text, shapes = encoded
    draws = torch.Generator().manual_seed(2)

    def near(embedding: Tensor) -> Tensor:
        return torch.nn.functional.normalize(
            embedding + 0.1 * torch.randn(embedding.shape, generator=draws), dim=1
        )

    pairs = torch.stack([torch.arange(TEXTS), torch.arange(TEXTS) % SHAPES], dim=1)
    return AlignmentMemory(near(text.embedding), near(shapes.embedding), pairs)


@pytest.fixture(scope="module")
def library(model: AlignmentModel, encoded: tuple[TextEmbedding, PointHierarchy]) -> Library:
    memory, (text, shapes) = bank(encoded), encoded
    return Library(
        memory,
        shapes.embedding,
        memory.recall(shapes.embedding, "shape"),
        fine_hubness(model, text, shapes, "shape"),
        memory.likeness(shapes.embedding, "shape", 1).squeeze(1),
    )


@pytest.fixture(scope="module")
@torch.no_grad()
def pair_scores(model: AlignmentModel, encoded: tuple[TextEmbedding, PointHierarchy]) -> list[list[float]]:
    """HAF's scores of texts and shapes, one pair at a time."""

    def score(text: int, shape: int) -> float:
        rows = torch.tensor([text]), torch.tensor([[shape]])
        return float(model.haf.fuse(model.attend(encoded[0].select(rows[0]), encoded[1], rows[1])).score)

    return [[score(text, shape) for shape in range(SHAPES)] for text in range(TEXTS)]


def calibration(rows: int, memory: float = 0.0, hubness: float = 0.0) -> Calibration:
    made = Calibration.identity(rows, tokens=5, levels=3, heads=CONFIG.heads, regions=CONFIG.regions)
    made.memory, made.hubness = made.memory + memory, made.hubness + hubness
    return made


CANDIDATES = torch.tensor([[0, 1, 2, 3], [5, 4, 3, 2], [1, 3, 5, 0]])


@torch.no_grad()
def test_without_strengths_a_score_is_what_it_was_to_the_bit(
    model: AlignmentModel, encoded: tuple[TextEmbedding, PointHierarchy], library: Library
) -> None:
    text, shapes = encoded[0].select(torch.arange(3)), encoded[1]
    evidence = library.evidence(text.embedding, CANDIDATES, model.logit_scale)
    assert (evidence.recall != 0).all()
    assert (evidence.hubness != 0).all()
    with_library = model.attend(text, shapes, CANDIDATES, library=evidence)
    expected = model.haf.fuse(model.attend(text, shapes, CANDIDATES)).score
    assert torch.equal(model.haf.fuse(with_library).score, expected)
    assert torch.equal(model.haf.fuse(with_library, calibration(3)).score, expected)


@torch.no_grad()
def test_with_strengths_it_is_the_formula(
    model: AlignmentModel, encoded: tuple[TextEmbedding, PointHierarchy], library: Library
) -> None:
    text, shapes = encoded[0].select(torch.arange(3)), encoded[1]
    scale = float(model.logit_scale)
    evidence = library.evidence(text.embedding, CANDIDATES, scale)
    state = model.attend(text, shapes, CANDIDATES, library=evidence)
    found = model.haf.fuse(state, calibration(3, 0.75, 1.5)).score - model.haf.fuse(state).score
    memory = library.memory
    for row in range(3):
        for column, shape in enumerate(CANDIDATES[row].tolist()):
            t, s = text.embedding[row], shapes.embedding[shape]
            of_text = (memory.sharpness * memory.text @ t).softmax(0) @ memory.meanings("text")
            of_shape = (memory.sharpness * memory.shape @ s).softmax(0) @ memory.meanings("shape")
            recall = scale * float(of_text @ s + t @ of_shape) / 2
            assert float(evidence.recall[row, column]) == pytest.approx(recall, abs=1e-4)
            expected = 0.75 * recall - 1.5 * float(library.hubness[shape])
            assert float(found[row, column]) == pytest.approx(expected, abs=1e-4)


def test_a_pair_recall_by_hand() -> None:
    text, shape = torch.tensor([1.0, 0.0]), torch.tensor([0.6, 0.8])
    text_recalls, shape_recalls = torch.tensor([0.0, 1.0]), torch.tensor([0.5, 0.5])
    found = pair_recall(text, shape, text_recalls, shape_recalls, 10.0)
    assert float(found) == pytest.approx(10 / 2 * (0.8 + 0.5))
    other_way_round = pair_recall(shape, text, shape_recalls, text_recalls, 10.0)
    assert float(other_way_round) == pytest.approx(float(found))


@torch.no_grad()
def test_evidence_has_a_context(
    model: AlignmentModel, encoded: tuple[TextEmbedding, PointHierarchy], library: Library
) -> None:
    text = encoded[0].embedding[:3]
    keep = torch.ones(3, TEXTS, dtype=torch.bool)
    keep[0] = False
    evidence = library.evidence(text, CANDIDATES, 1.0, keep)
    torch.testing.assert_close(evidence.context[1:, :KNOWN], library.memory.likeness(text[1:], "text", KNOWN))
    assert (evidence.context[0, :KNOWN] == 0).all()
    known = library.memory.shape
    near = torch.stack([(shape @ known.T).max() for shape in library.shapes])
    spread = library.hubness.std(correction=0)
    expected = torch.stack([near.mean(), spread / (1 + spread), skewness(library.hubness)])
    torch.testing.assert_close(evidence.context[:, KNOWN:], expected.expand(3, -1))
    assert len(CONTEXT) == KNOWN + len(expected)
    alone = pair_recall(
        text[0],
        library.shapes[CANDIDATES[0]],
        torch.zeros_like(text[0]),
        library.recalled[CANDIDATES[0]],
        1.0,
    )
    torch.testing.assert_close(evidence.recall[0], alone)  # its shapes recall, though it does not
    assert evidence.hubness.tolist() == library.hubness[CANDIDATES].tolist()


@pytest.mark.parametrize("values", [[], [0.0, 0.0], [0.1] * 7, [1e4 + 0.1] * 5])
def test_what_is_all_alike_has_no_skew(values: list[float]) -> None:
    assert float(skewness(torch.tensor(values))) == 0


def test_a_skew_by_hand() -> None:
    assert float(skewness(torch.tensor([0.0, 0.0, 0.0, 4.0]))) == pytest.approx(2 / math.sqrt(3), abs=1e-5)
    assert float(skewness(torch.tensor([-1.0, 0.0, 1.0]))) == pytest.approx(0, abs=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("side", ["shape", "text"])
@pytest.mark.parametrize("nearest", [32, 3])
@pytest.mark.parametrize("some", [False, True])
def test_the_hubness_of_scores_is_a_plain_loop(
    model: AlignmentModel,
    encoded: tuple[TextEmbedding, PointHierarchy],
    pair_scores: list[list[float]],
    side: Side,
    nearest: int,
    some: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("models.library.NEAREST", nearest)
    monkeypatch.setattr("models.library.CHUNK_PAIRS", 2 * nearest)  # more than one piece
    text, shapes = encoded
    similarity = text.embedding @ shapes.embedding.T
    similarity = similarity.T if side == "shape" else similarity
    keep = None
    if some:
        keep = torch.rand(similarity.shape, generator=torch.Generator().manual_seed(3)) > 0.5
        keep[1] = False
    found = fine_hubness(model, text, shapes, side, keep=keep)
    for candidate in range(len(similarity)):
        near = similarity[candidate].argsort(descending=True).tolist()
        near = [n for n in near if keep is None or keep[candidate, n]][:nearest]
        total = 0.0
        for asking in near:
            score = pair_scores[asking][candidate] if side == "shape" else pair_scores[candidate][asking]
            total += math.exp(FINE_BETA * score)
        expected = math.log(total / len(near)) / FINE_BETA if near else 0.0
        assert float(found[candidate]) == pytest.approx(expected, abs=1e-4)
    projected = model.haf.project(shapes)
    assert torch.equal(fine_hubness(model, text, shapes, side, projected, keep), found)


@torch.no_grad()
@pytest.mark.parametrize("side", ["shape", "text"])
def test_an_empty_bank_makes_no_hubs(
    model: AlignmentModel, encoded: tuple[TextEmbedding, PointHierarchy], side: Side
) -> None:
    text, shapes = encoded
    nothing = torch.zeros(0, dtype=torch.int64)
    if side == "shape":
        found = fine_hubness(model, text.select(nothing), shapes, side)
    else:
        found = fine_hubness(model, text, shapes.select(nothing), side)
    assert torch.equal(found, torch.zeros(SHAPES if side == "shape" else TEXTS))


def test_a_library_of_another_gallery_is_refused(library: Library) -> None:
    with pytest.raises(ValueError, match=r"shapes \[6, \d+\], recalled \[6, \d+\], hubness \[5\], like"):
        dataclasses.replace(library, hubness=library.hubness[:5])
    with pytest.raises(ValueError, match=r"likeness \[4\]: expected \[M, E\], \[M, E\], \[M\] and \[M\]"):
        dataclasses.replace(library, likeness=library.likeness[:4])


def test_evidence_holds_rows(library: Library, encoded: tuple[TextEmbedding, PointHierarchy]) -> None:
    """A policy's rows are taken out of it, as of every state."""
    evidence = library.evidence(encoded[0].embedding[:3], CANDIDATES, 1.0)
    assert isinstance(evidence, LibraryEvidence)
    part = evidence[1:]
    assert part.batch_size == torch.Size([2])
    assert torch.equal(part.recall, evidence.recall[1:])
