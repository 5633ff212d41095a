"""Recall and hubness of an alignment memory, and what is left out where a known pair asks about itself."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from durable.tensor_files import write_tensors
from models import AlignmentMemory
from models.memory import Side, log_mean_exp
from tests.durable.test_checksums import flipped

SIDES: tuple[Side, Side] = ("text", "shape")


def unit(*rows: float) -> Tensor:
    """Unit vectors of the plane at angles in degrees, ``[n, 2]``."""
    angles = torch.tensor(rows) * math.pi / 180
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def normal(count: int, width: int = 8, seed: int = 0) -> Tensor:
    draws = torch.randn(count, width, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(draws, dim=1)


@pytest.fixture
def memory() -> AlignmentMemory:
    """Text 0 means shapes 0 and 1, text 1 means shape 1 too, text 2 shape 2, texts 3 and 4 shape 3."""
    pairs = torch.tensor([[0, 0], [0, 1], [1, 1], [2, 2], [3, 3], [4, 3]])
    return AlignmentMemory(normal(5, seed=1), normal(4, seed=2), pairs)


def test_a_recall_by_hand() -> None:
    memory = AlignmentMemory(
        text=unit(0, 90),
        shape=unit(45, 180, 270),
        pairs=torch.tensor([[0, 0], [0, 2], [1, 1]]),
        sharpness=2.0,
    )
    means = torch.stack([(unit(45)[0] + unit(270)[0]) / 2, unit(180)[0]])  # text 0 means two shapes
    torch.testing.assert_close(memory.meanings("text"), means)
    weight = math.exp(2.0 * math.cos(math.pi / 6)) / (
        math.exp(2.0 * math.cos(math.pi / 6)) + math.exp(2.0 * math.cos(math.pi / 3))
    )
    expected = weight * means[0] + (1 - weight) * means[1]
    torch.testing.assert_close(memory.recall(unit(30), "text"), expected.unsqueeze(0))
    torch.testing.assert_close(
        memory.recall(unit(200), "shape", torch.tensor([[False, True, False]])), unit(90)
    )


def test_a_hubness_by_hand() -> None:
    memory = AlignmentMemory(unit(0, 90), unit(45), torch.tensor([[0, 0], [1, 0]]))
    candidates = unit(60, 200)
    expected = [
        math.log((math.exp(3 * math.cos(a)) + math.exp(3 * math.cos(a - math.pi / 2))) / 2) / 3
        for a in (math.pi / 3, 200 * math.pi / 180)
    ]
    torch.testing.assert_close(memory.hubness(candidates, "shape", beta=3.0), torch.tensor(expected))
    keep = torch.tensor([[[True, False], [True, False]], [[False, True], [False, False]]])
    by_query = memory.hubness(candidates, "shape", beta=3.0, keep=keep)
    cosines = candidates @ memory.text.T
    expected_rows = [[float(cosines[0, 0]), float(cosines[1, 0])], [float(cosines[0, 1]), 0.0]]
    torch.testing.assert_close(by_query, torch.tensor(expected_rows))


def test_the_soft_maximum_lies_between_mean_and_largest() -> None:
    scores = torch.randn(5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    torch.testing.assert_close(log_mean_exp(scores, 1e-6), scores.mean(1), atol=1e-5, rtol=0)
    torch.testing.assert_close(log_mean_exp(scores, 1e6), scores.amax(1), atol=1e-5, rtol=0)
    values = [log_mean_exp(scores, beta) for beta in (0.1, 0.5, 2.0, 30.0)]
    for smaller, larger in itertools.pairwise(values):
        assert (smaller < larger).all()
    for beta in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match=f"beta={beta}: expected a positive number"):
            log_mean_exp(scores, beta)


def test_scores_that_do_not_count_are_as_if_they_were_not_there() -> None:
    scores = torch.randn(3, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()
    keep = torch.tensor([[True] * 6, [True, False, True, False, False, True], [False] * 6])
    found = log_mean_exp(scores, 0.5, keep)
    expected = torch.stack([log_mean_exp(scores[0], 0.5), log_mean_exp(scores[1, [0, 2, 5]], 0.5)])
    torch.testing.assert_close(found[:2], expected)
    assert found[2] == 0
    (gradient,) = torch.autograd.grad(found.sum(), scores)
    assert gradient.isfinite().all()
    assert torch.equal(gradient != 0, keep)
    assert log_mean_exp(torch.zeros(3, 0), 1.0).tolist() == [0, 0, 0]
    assert log_mean_exp(torch.zeros(3, 0), 1.0, torch.zeros(2, 3, 0, dtype=torch.bool)).shape == (2, 3)


@pytest.mark.parametrize("side", SIDES)
def test_a_bank_twice_says_what_it_said_once(memory: AlignmentMemory, side: Side) -> None:
    twice = AlignmentMemory(
        torch.cat([memory.text, memory.text]),
        torch.cat([memory.shape, memory.shape]),
        torch.cat([memory.pairs, memory.pairs + torch.tensor([len(memory.text), len(memory.shape)])]),
    )
    queries = normal(6)
    torch.testing.assert_close(twice.recall(queries, side), memory.recall(queries, side))
    torch.testing.assert_close(twice.hubness(queries, side), memory.hubness(queries, side))


@pytest.mark.parametrize("side", SIDES)
def test_pieces_are_the_whole(memory: AlignmentMemory, side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    queries, keep = normal(9), torch.rand(9, 5, generator=torch.Generator().manual_seed(0)) > 0.3
    asked, asking = keep[:, : len(memory.known(side))], keep[:, : len(memory.text) + len(memory.shape)]
    asking = asking[:, : len(memory.shape if side == "text" else memory.text)]

    def everything() -> list[Tensor]:
        return [
            memory.recall(queries, side),
            memory.recall(queries, side, asked),
            memory.hubness(queries, side),
            memory.hubness(queries, side, keep=asking),
            memory.hubness(queries, side, keep=asking.expand(2, -1, -1)),
        ]

    whole = everything()
    monkeypatch.setattr("models.memory.CHUNK_CELLS", 10)
    torch.testing.assert_close(everything(), whole)


def test_who_may_help_a_known_query(memory: AlignmentMemory) -> None:
    """Neither itself, nor another name of one of its answers."""
    kept = memory.others(torch.tensor([0, 1, 2, 3, -1]), "text")
    assert [row.nonzero().flatten().tolist() for row in kept] == [
        [2, 3, 4],
        [2, 3, 4],  # text 0 means shape 1 too
        [0, 1, 3, 4],
        [0, 1, 2],
        [0, 1, 2, 3, 4],
    ]
    kept = memory.others(torch.tensor([0, 1, 2, 3]), "shape")
    assert [row.nonzero().flatten().tolist() for row in kept] == [[2, 3], [2, 3], [0, 1, 3], [0, 1, 2]]


def test_who_tells_of_a_known_candidate(memory: AlignmentMemory) -> None:
    kept = memory.strangers(torch.tensor([0, 1, 3, -1]), "shape")
    assert [row.nonzero().flatten().tolist() for row in kept] == [
        [1, 2, 3, 4],
        [2, 3, 4],
        [0, 1, 2],
        [0, 1, 2, 3, 4],
    ]
    kept = memory.strangers(torch.tensor([0, 3]), "text")
    assert [row.nonzero().flatten().tolist() for row in kept] == [[2, 3], [0, 1, 2]]


@pytest.mark.parametrize("side", SIDES)
def test_a_known_pair_recalls_nothing_of_itself(memory: AlignmentMemory, side: Side) -> None:
    """Whatever stands in its own answers, what it recalls stays the same to the bit."""
    other: Side = "shape" if side == "text" else "text"
    asks, answers = memory.pairs.unbind(1) if side == "text" else memory.pairs.flip(1).unbind(1)
    queries = memory.known(side)
    for row in range(len(queries)):
        poisoned = memory.known(other).clone()
        poisoned[answers[asks == row]] = 1e30
        spoilt = dataclasses.replace(memory, **{other: poisoned})
        keep = memory.others(torch.tensor([row]), side)
        query = queries[row : row + 1]
        assert torch.equal(spoilt.recall(query, side, keep), memory.recall(query, side, keep))
        assert not torch.allclose(spoilt.recall(query, side), memory.recall(query, side))


@pytest.mark.parametrize("side", SIDES)
def test_who_asks_for_a_known_candidate_makes_it_no_hub(memory: AlignmentMemory, side: Side) -> None:
    other: Side = "shape" if side == "text" else "text"
    answers, asks = memory.pairs.unbind(1) if side == "text" else memory.pairs.flip(1).unbind(1)
    for row in range(len(memory.known(side))):
        poisoned = memory.known(other).clone()
        poisoned[asks[answers == row]] = 1e30
        spoilt = dataclasses.replace(memory, **{other: poisoned})
        keep = memory.strangers(torch.tensor([row]), side)
        candidate = memory.known(side)[row : row + 1]
        found = memory.hubness(candidate, side, keep=keep)
        assert torch.equal(spoilt.hubness(candidate, side, keep=keep), found)
        assert not torch.equal(spoilt.hubness(candidate, side), memory.hubness(candidate, side))


@pytest.mark.parametrize("side", SIDES)
def test_where_nothing_may_help_nothing_is_recalled(memory: AlignmentMemory, side: Side) -> None:
    queries = normal(2)
    keep = torch.zeros(2, len(memory.known(side)), dtype=torch.bool)
    keep[1, 0] = True
    found = memory.recall(queries, side, keep)
    assert (found[0] == 0).all()
    torch.testing.assert_close(found[1], memory.meanings(side)[0])
    near = memory.likeness(queries, side, 3, keep)
    assert near[0].tolist() == [0, 0, 0]
    assert near[1].tolist() == [float(queries[1] @ memory.known(side)[0]), 0, 0]
    empty = AlignmentMemory(torch.zeros(0, 8), torch.zeros(0, 8), torch.zeros(0, 2, dtype=torch.int64))
    assert torch.equal(empty.recall(queries, side), torch.zeros(2, 8))
    assert torch.equal(empty.hubness(queries, side), torch.zeros(2))
    assert torch.equal(empty.likeness(queries, side, 3), torch.zeros(2, 3))
    assert empty.recall(normal(0), side).shape == (0, 8)
    assert memory.hubness(normal(0), side).shape == (0,)


def test_the_nearest_known_texts_come_first(memory: AlignmentMemory) -> None:
    queries = normal(4)
    expected = (queries @ memory.text.T).sort(dim=1, descending=True).values[:, :3]
    torch.testing.assert_close(memory.likeness(queries, "text", 3), expected)


def test_a_memory_that_grew_is_one_made_at_once() -> None:
    text, shape = normal(9, seed=1), normal(9, seed=2)
    rows = torch.arange(9)
    whole = AlignmentMemory(text, shape, torch.stack([rows, rows], dim=1))
    grown = AlignmentMemory(text[:4], shape[:4], torch.stack([rows[:4], rows[:4]], dim=1))
    before = grown.recall(text, "text")
    grown_later = grown.add(text[4:5], shape[4:5]).add(text[5:], shape[5:])
    assert torch.equal(grown.recall(text, "text"), before), "what it grew from stays as it was"
    for name in ("text", "shape", "pairs"):
        assert torch.equal(getattr(grown_later, name), getattr(whole, name))
    for side in SIDES:
        assert torch.equal(grown_later.recall(text, side), whole.recall(text, side))
    with pytest.raises(ValueError, match=r"text \[2, 8\], shape \[3, 8\]: expected \[n, 8\] each"):
        whole.add(text[:2], shape[:3])


def test_it_comes_back_as_it_was_saved(memory: AlignmentMemory, tmp_path: Path) -> None:
    memory = dataclasses.replace(memory, sharpness=17.5)
    memory.save(tmp_path / "memory.safetensors")
    found = AlignmentMemory.load(tmp_path / "memory.safetensors")
    assert found.sharpness == 17.5
    for name in ("text", "shape", "pairs"):
        assert torch.equal(getattr(found, name), getattr(memory, name))
    assert [path.name for path in tmp_path.iterdir()] == ["memory.safetensors"]


def test_bytes_are_what_they_are_said_to_be(tmp_path: Path) -> None:
    texts, shapes, width, pairs = 300, 200, 64, 400
    rows = torch.stack([torch.arange(pairs) % texts, torch.arange(pairs) % shapes], dim=1)
    memory = AlignmentMemory(normal(texts, width), normal(shapes, width), rows)
    said = 4 * width * (texts + shapes) + 16 * pairs
    assert memory.resident_bytes == said
    memory.save(tmp_path / "memory.safetensors")
    assert said <= (tmp_path / "memory.safetensors").stat().st_size < said + 1000
    meanings = sum(memory.meanings(side).numel() * 4 for side in SIDES)
    assert meanings == 4 * width * (texts + shapes)


def damaged(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "no file":
        path.unlink()
    elif how == "flip":
        flipped(path, 4 * len(content))
    else:
        tensors = {
            "text": torch.ones(2, 3),
            "shape": torch.ones(2, 3),
            "pairs": torch.tensor([[0, 0]]),
        }
        if how == "a name":
            tensors.pop("shape")
        if how == "NaN":
            tensors["text"][0, 0] = torch.nan
        if how == "rows":
            tensors["pairs"][0, 1] = 2
        metadata = {"sharpness": "many" if how == "sharpness" else "40.0"}
        write_tensors(path, tensors, None if how == "metadata" else metadata)


@pytest.mark.parametrize(
    "how", ["cut", "empty", "flip", "no file", "a name", "NaN", "rows", "sharpness", "metadata"]
)
def test_a_damaged_file_is_refused_in_one_line(memory: AlignmentMemory, tmp_path: Path, how: str) -> None:
    path = tmp_path / "memory.safetensors"
    memory.save(path)
    damaged(path, how)
    with pytest.raises(ValueError, match="no alignment memory") as caught:
        AlignmentMemory.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"text": torch.ones(5, 7)}, r"text \[5, 7\], shape \[4, 8\]: expected \[K, E\] and \[S, E\]"),
        (
            {"text": torch.ones(5, 8).half()},
            r"text torch.float16, shape torch.float32: expected floats of one",
        ),
        ({"shape": torch.full((4, 8), torch.nan)}, "shape: expected finite embeddings"),
        ({"pairs": torch.ones(3, 3)}, r"pairs: expected int64 \[P, 2\], got torch.float32 \[3, 3\]"),
        ({"pairs": torch.tensor([[0, 4]])}, "pairs: expected rows of 5 texts and 4 shapes"),
        ({"pairs": torch.tensor([[-1, 0]])}, "pairs: expected rows of 5 texts and 4 shapes"),
        ({"sharpness": 0.0}, "sharpness=0.0: expected a positive number"),
    ],
)
def test_what_is_no_memory_is_refused(
    memory: AlignmentMemory, changes: dict[str, Tensor], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(memory, **changes)
