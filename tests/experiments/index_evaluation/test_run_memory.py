"""The memory of a run: its train split as known pairs, and what it does to engines and re-rankers."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments import retrieval as command
from experiments.data.corpus import Corpus
from experiments.index_evaluation import distill_light, measured_tables
from experiments.index_evaluation.load_run import Trained
from experiments.index_evaluation.measure import measure
from experiments.index_evaluation.options import Settings, parse
from experiments.index_evaluation.problems import problems_of_run
from experiments.index_evaluation.rerankers import DIRECTIONS, Direction, Rerankers, compressed
from experiments.index_evaluation.run_memory import bank_of, grouped
from models import AlignmentModel
from models.memory import Side
from models.rerank.late_interaction import LightHead
from retrieval.reranker import rerank
from tests.experiments.run_folder.test_run_files import settings

CPU = torch.device("cpu")


@pytest.fixture
def trained(
    tmp_path: Path, corpus: Corpus, model: AlignmentModel, monkeypatch: pytest.MonkeyPatch
) -> Trained:
    monkeypatch.setattr(distill_light, "STEPS", 3)
    config = settings(data="procedural", model="tiny", **{"data.points": 512})
    frozen = copy.deepcopy(model).requires_grad_(False)
    split = torch.arange(len(corpus.dataset))
    splits = {"train": split[[7, 0, 1, 2, 3, 4, 5, 6]], "reward": split[8:12], "test": split[12:]}
    results = {"dataset": {"hash": corpus.dataset.hash}, "steps": 1}
    return Trained(tmp_path, config, dataclasses.replace(corpus, splits=splits), frozen, results)


def asked(*more: str) -> Settings:
    few = ["run=here", "engines=flat,ers", "rounds=1", "singles=2", "resamples=50", "k=2", "candidates=4"]
    return parse([*few, *more])


def test_pairs_are_grouped_by_either_side() -> None:
    texts, shapes = np.array([0, 2, 2, 1, 0]), np.array([0, 0, 1, 2, 2])
    assert grouped(texts, shapes, 4).tolist() == [[0, 2], [2, -1], [0, 1], [-1, -1]]
    assert grouped(shapes, texts, 3).tolist() == [[0, 2], [2, -1], [1, 0]]


def test_the_bank_is_the_train_split_in_both_directions(trained: Trained) -> None:
    bank, corpus = bank_of(trained, CPU), trained.corpus
    indices = corpus.splits["train"].sort().values
    texts = corpus.unique_texts(indices)
    positives = corpus.positives(texts, indices).float()
    text, shape = bank.known.text.embedding, bank.known.shapes.embedding
    of_texts = (positives @ shape) / positives.sum(1, keepdim=True)
    of_shapes = (positives.T @ text) / positives.sum(0)[:, None]
    for direction, keys, values in zip(DIRECTIONS, (text, shape), (of_texts, of_shapes), strict=True):
        np.testing.assert_allclose(bank.pairs[direction].keys, keys.numpy(), atol=1e-6)
        np.testing.assert_allclose(bank.pairs[direction].values, values.numpy(), atol=1e-6)
    some = torch.tensor([3, 12, 0])
    own = bank.own_of_shapes(some)
    assert own is not None
    for row, index in enumerate(some.tolist()):
        captions = corpus.texts_of[index]
        wanted = captions[captions >= 0].tolist() if index < 8 else []
        assert sorted(texts[own[row][own[row] >= 0]].tolist()) == sorted(wanted)
    captions = corpus.unique_texts(torch.arange(16))
    back = bank.own_of_texts(captions)
    assert back is not None
    for row, caption in enumerate(captions.tolist()):
        wanted = [int(index) for index in indices if caption in corpus.texts_of[index].tolist()]
        assert indices[back[row][back[row] >= 0]].tolist() == wanted
    assert bank.own_of_shapes(torch.tensor([12, 13])) is None


@pytest.mark.parametrize("sharpness", [1.0, 60.0])
def test_an_index_remembers_what_the_model_does(trained: Trained, sharpness: float) -> None:
    """`KnownPairs` beside `AlignmentMemory`, own pairs left out, in both directions."""
    bank = bank_of(trained, CPU)
    text_vectors, shape_vectors = bank.known.text.embedding, bank.known.shapes.embedding
    model = dataclasses.replace(bank.known.memory, sharpness=sharpness)
    of_shapes, of_texts = bank.own_of_shapes(bank.indices), bank.own_of_texts(bank.texts)
    known: list[tuple[Direction, Side, Side, torch.Tensor, torch.Tensor, np.ndarray | None]] = [
        ("text_to_shape", "text", "shape", text_vectors, shape_vectors, of_shapes),
        ("shape_to_text", "shape", "text", shape_vectors, text_vectors, of_texts),
    ]
    for direction, asks, answers, queries, candidates, own in known:
        index = bank.pairs[direction]
        index.sharpness = sharpness
        moved = torch.nn.functional.normalize(queries + 0.1 * queries.roll(1, 0), dim=-1)
        recalled = model.recall(moved, asks).numpy()
        np.testing.assert_allclose(index.recall(moved.numpy()), recalled, atol=1e-5)
        hubness = model.hubness(candidates, answers, index.beta).numpy()
        np.testing.assert_allclose(index.hubness(candidates.numpy()), hubness, atol=1e-5)
        keep = model.strangers(torch.arange(len(candidates)), answers)
        hubness = model.hubness(candidates, answers, index.beta, keep).numpy()
        np.testing.assert_allclose(index.hubness(candidates.numpy(), own), hubness, atol=1e-5)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_rerankers_with_memory_score_by_the_formula(trained: Trained, direction) -> None:
    bank = bank_of(trained, CPU)
    head = LightHead(trained.config.model.width, trained.model.points.level_sizes).requires_grad_(False)
    of_bank = Rerankers(
        trained.model,
        head,
        bank.known.text,
        compressed(trained.model, head, [bank.known.shapes], 8, CPU),
        bank.known.shapes.embedding.numpy(),
    )
    pairs = bank.pairs[direction]
    queries, vectors = of_bank.vectors(direction)  # the bank asks itself: here all scores are to be had
    terms = of_bank.remember(direction, of_bank, pairs, None)
    scale = float(trained.model.logit_scale)
    rows, ids = np.arange(len(queries)), np.tile(np.arange(len(vectors)), (len(queries), 1))
    plain = of_bank.make(direction)
    for name, term in terms.items():
        term.recall, term.hubness = 0.7, 0.4
        scores = plain[name](rows, ids)
        nearest = np.argsort(-(vectors @ queries.T), axis=1)[:, :32]
        hubness = 2 * np.log(np.exp(0.5 * np.take_along_axis(scores.T, nearest, 1)).mean(axis=1))
        wanted = scores + 0.7 * scale * pairs.recall(queries) @ vectors.T - 0.4 * hubness
        np.testing.assert_allclose(of_bank.make(direction, terms)[name](rows, ids), wanted, atol=2e-3)
    best, _ = rerank(rows, ids, of_bank.make(direction, terms)["cascade"], 1)
    assert (best >= 0).all()


@pytest.mark.parametrize("gallery", ["test", "all"])
def test_every_engine_is_measured_with_memory_as_well(trained: Trained, gallery: str, tmp_path: Path) -> None:
    asks = asked(f"gallery={gallery}", "memory_recall=1", "memory_hubness=0.5", "rerank=light,cascade")
    problems, _ = problems_of_run(trained, asks, tmp_path, CPU)
    assert [problem.name for problem in problems] == list(DIRECTIONS)
    for problem in problems:
        memory = problem.memory
        assert memory is not None
        assert set(memory.strengths) == {"first stage", "light", "haf"}
        assert (memory.own is None) == (gallery == "test" and problem.name == "text_to_shape")
        found = measure(problem, asks)
        assert list(found) == ["flat", "flat + memory", "ers", "ers + memory"]
        vectors, queries = problem.vectors, problem.queries
        scores = (queries + memory.pairs.recall(queries)) @ vectors.T
        scores -= 0.5 * memory.pairs.hubness(vectors, memory.own)
        hits = [row.argmax() in right for row, right in zip(scores, problem.right, strict=True)]
        with_memory = found["flat + memory"]
        assert with_memory.chosen.quality["recall@1"] == pytest.approx(np.mean(hits))
        exact = found["flat"].chosen.quality["recall@1"]
        assert with_memory.gain[0] == pytest.approx(np.mean(hits) - exact)
        assert set(with_memory.reranked) == {"light", "cascade"}
        assert with_memory.cost.resident_bytes > memory.pairs.resident_bytes()  # type: ignore[operator]
        lines = measured_tables.memory_lines(problem.name, memory, len(vectors))
        assert "first stage: recall 1, hubness 0.5" in lines[1]
        once = measured_tables.hubness_lines(problem.name, memory)
        assert [line.split(": ")[0].split(", ")[-1] for line in once] == [
            name for name in ("light", "haf") if memory.strengths[name].hubness
        ]
        written = measured_tables.memory_json(memory)
        assert written["strengths"]["first stage"]["given"]
        assert written["pairs"] == len(memory.pairs)
        assert set(measured_tables.as_json(found)) == set(found)


def test_without_memory_engines_are_measured_once(trained: Trained, tmp_path: Path) -> None:
    problems, _ = problems_of_run(trained, asked("memory=off", "rerank=light"), tmp_path, CPU)
    assert [problem.memory for problem in problems] == [None, None]
    assert list(measure(problems[0], asked("rerank=light"))) == ["flat", "ers"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mixture=easier", "memory=train"], "memory=train: belongs to run=…"),
        (["run=/nowhere", "memory=off", "memory_recall=1"], "memory_recall=1.0: belongs to memory=train"),
        (["run=/nowhere", "memory_hubness=-1"], "memory_hubness=-1: expected"),
        (["run=/nowhere", "memory=all"], "memory=all: expected 'train' or 'off'"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(arguments) == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert words in shown
