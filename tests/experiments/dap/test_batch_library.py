"""Library of a training batch: its half is left out, and HAF is drawn to what the other says."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from experiments.dap.batch_library import BatchLibrary, TrainMemory
from experiments.dap.controller import DapController
from experiments.data.bank import Bank, remember
from experiments.data.batches import Batch, Batches
from experiments.data.corpus import Corpus
from experiments.settings.command import check
from experiments.settings.schema import RunConfig, register_sizes
from experiments.training.loss import AlignmentLoss
from models import AlignmentMemory, AlignmentModel
from models.library import gallery_context, pair_recall
from tests.experiments.evaluation.masts import CONFIG

register_sizes()
CPU = torch.device("cpu")
SIZES = ["model=tiny", "agent=greedy", "agent.budget=8", "train.batch_size=4", "train.group=2"]
ACTIONS = [
    "env.families=[memory,hubness,stop]",
    "env.horizon=2",
    "reward.alpha=0.5",
    "dap.queries=3",
    "dap.candidates=3",
]


def settings(*more: str) -> RunConfig:
    (config,) = check([*SIZES, *ACTIONS, "train.grounding=0", *more])
    return config


@pytest.fixture(scope="module")
def train(corpus: Corpus) -> Corpus:
    """Shapes of one caption each; the first two have the same."""
    shapes = torch.tensor([number for number in range(len(corpus.dataset)) if number % 4 != 2])
    own = corpus.texts_of[:, 1:2].clone()
    own[shapes[1]] = own[shapes[0]]
    return dataclasses.replace(corpus, texts_of=own, splits={"train": shapes})


@pytest.fixture(scope="module")
def bank(model: AlignmentModel, train: Corpus) -> Bank:
    return remember(model, train, train.splits["train"], CPU)


@pytest.fixture(scope="module")
def batch(train: Corpus) -> Batch:
    """A batch with the first of the two shapes that have the same caption, and without the second."""
    batches = Batches(train, settings().train, 0, CPU)
    first, second = train.splits["train"][:2]
    seen = (batches.at(step) for step in range(100))
    return next(one for one in seen if first in one.indices and second not in one.indices)


def library_of(memory: AlignmentMemory, train: Corpus, batch: Batch) -> BatchLibrary:
    """The library where the batch is one half, and all else is the other."""
    shapes = train.splits["train"]
    half = (~torch.isin(shapes, batch.indices)).long()
    return TrainMemory(memory, half, train, shapes).library(batch)


def without(bank: Bank, train: Corpus, batch: Batch) -> AlignmentMemory:
    """A memory that has never seen the batch, nor another shape of one of its captions."""
    shapes = train.splits["train"]
    others = shapes[~torch.isin(train.texts_of[shapes, 0], batch.texts)]
    places = torch.searchsorted(shapes, others)
    texts = train.unique_texts(others)
    rows = torch.searchsorted(texts, train.texts_of[others, 0])
    return AlignmentMemory(
        bank.memory.text[torch.searchsorted(train.unique_texts(shapes), texts)],
        bank.memory.shape[places],
        torch.stack([rows, torch.arange(len(others))], dim=1),
    )


def tensors(library: BatchLibrary) -> list[Tensor]:
    return [getattr(library, field.name) for field in dataclasses.fields(library)]


def test_a_half_is_as_if_it_had_never_been_seen(bank: Bank, train: Corpus, batch: Batch) -> None:
    shapes = train.splits["train"]
    never = without(bank, train, batch)
    assert len(never.shape) == len(shapes) - len(batch.indices) - 1  # the twin of the first is gone, too
    text = bank.memory.text[torch.searchsorted(train.unique_texts(shapes), batch.texts)]
    shape = bank.memory.shape[torch.searchsorted(shapes, batch.indices)]
    recall = pair_recall(
        text.unsqueeze(1),
        shape,
        never.recall(text, "text").unsqueeze(1),
        never.recall(shape, "shape"),
        scale=1.0,
    )
    library = library_of(bank.memory, train, batch)
    torch.testing.assert_close(library.recall, recall)
    torch.testing.assert_close(library.shape_hubness, never.hubness(shape, "shape"))
    torch.testing.assert_close(library.text_hubness, never.hubness(text, "text"))
    torch.testing.assert_close(library.text_likeness, never.likeness(text, "text", 3))
    torch.testing.assert_close(library.shape_likeness, never.likeness(shape, "shape", 1).squeeze(1))


def test_poison_in_the_pairs_of_a_batch_moves_nothing(bank: Bank, train: Corpus, batch: Batch) -> None:
    pairs = bank.memory.pairs.clone()
    own = torch.isin(train.splits["train"][pairs[:, 1]], batch.indices)
    assert int(own.sum()) == len(batch.indices)
    pairs[own, 1] = pairs[own, 1].roll(1)
    assert not torch.equal(pairs, bank.memory.pairs)
    poisoned = library_of(dataclasses.replace(bank.memory, pairs=pairs), train, batch)
    clean = library_of(bank.memory, train, batch)
    assert all(map(torch.equal, tensors(poisoned), tensors(clean)))


def test_halves_are_drawn_anew_and_never_compared(bank: Bank, train: Corpus, batch: Batch) -> None:
    shapes = train.splits["train"]
    drawn = [
        TrainMemory.halved(bank.memory, train, shapes, torch.Generator().manual_seed(seed)) for seed in (0, 1)
    ]
    assert all(int(one.half.sum()) == len(shapes) // 2 for one in drawn)
    assert not torch.equal(drawn[0].half, drawn[1].half)
    of_batch = drawn[0].half[torch.isin(shapes, batch.indices)]
    of_batch = of_batch[batch.indices.argsort().argsort()]
    assert torch.equal(drawn[0].library(batch).same, of_batch[:, None] == of_batch)
    assert of_batch.unique().tolist() == [0, 1]


def test_a_checkpoint_gives_the_same_library_back(bank: Bank, train: Corpus, batch: Batch) -> None:
    shapes = train.splits["train"]
    memory = TrainMemory.halved(bank.memory, train, shapes, torch.Generator().manual_seed(0))
    again = TrainMemory.restored(memory.state(), train, shapes)
    assert all(map(torch.equal, tensors(again.library(batch)), tensors(memory.library(batch))))


def test_evidence_is_of_the_rows_and_candidates_asked_for(bank: Bank, train: Corpus, batch: Batch) -> None:
    library = library_of(bank.memory, train, batch)
    rows, candidates = torch.tensor([2, 0]), torch.tensor([[3, 1, 2], [0, 1, 3]])
    found = library.evidence(rows, candidates, 10.0)
    assert float(found.recall[0, 1]) == pytest.approx(10 * float(library.recall[2, 1]))
    assert float(found.recall[1, 2]) == pytest.approx(10 * float(library.recall[0, 3]))
    assert float(found.hubness[0, 0]) == pytest.approx(10 * float(library.shape_hubness[3]))
    torch.testing.assert_close(found.context[:, :3], library.text_likeness[rows])
    gallery = gallery_context(library.shape_likeness, 10 * library.shape_hubness)
    torch.testing.assert_close(found.context[:, 3:], gallery.expand(2, -1))


def terms_of(train: Corpus, batch: Batch, library: BatchLibrary | None, *more: str) -> dict[str, Tensor]:
    torch.manual_seed(1)
    model = AlignmentModel(CONFIG, text_width=12).eval()
    terms = AlignmentLoss(model, settings("dap.mode=off", *more))(batch, None, library)
    return {name: term.detach() for name, term in terms.items()}


def test_without_weight_the_loss_is_what_it_was(bank: Bank, train: Corpus, batch: Batch) -> None:
    library = library_of(bank.memory, train, batch)
    plain = terms_of(train, batch, None)
    off = terms_of(train, batch, library)
    assert off.keys() == plain.keys()
    assert all(torch.equal(off[name], plain[name]) for name in plain)


def test_the_term_is_added_by_its_weight_and_rests_without_strengths(
    bank: Bank, train: Corpus, batch: Batch
) -> None:
    library = library_of(bank.memory, train, batch)
    plain, on = terms_of(train, batch, None), terms_of(train, batch, library, "dap.score_weight=3")
    assert float(on["loss/scores"]) > 0
    expected = plain["loss/total"] + 3 * on["loss/scores"]
    torch.testing.assert_close(on["loss/total"], expected)
    equal = terms_of(train, batch, library, "dap.score_weight=3", "dap.score_recall=0", "dap.score_hubness=0")
    assert float(equal["loss/scores"]) == pytest.approx(0, abs=1e-6)


def test_the_term_draws_the_scores_to_the_target(bank: Bank, train: Corpus, batch: Batch) -> None:
    library = library_of(bank.memory, train, batch)
    torch.manual_seed(1)
    model = AlignmentModel(CONFIG, text_width=12).eval()
    loss = AlignmentLoss(model, settings("dap.mode=off", "dap.score_weight=1"))
    optimizer = torch.optim.SGD(model.haf.parameters(), lr=0.01)
    values = []
    for _ in range(5):
        term = loss(batch, None, library)["loss/scores"]
        optimizer.zero_grad()
        term.backward()
        values.append(float(term.detach()))
        optimizer.step()
    assert values == sorted(values, reverse=True)
    assert all(part.grad is None for part in tensors(library))


def test_the_agent_acts_with_memory_on_a_batch(bank: Bank, train: Corpus, batch: Batch) -> None:
    torch.manual_seed(1)
    model = AlignmentModel(CONFIG, text_width=12)
    config = settings("dap.mode=distill", "dap.score_weight=1")
    right = library_of(bank.memory, train, batch)
    right.recall = batch.positives.float()
    with_memory = DapController(model, config).on_batch(batch, right)
    assert with_memory.library is not None
    assert bool((with_memory.calibration.memory > 0).all())
    assert with_memory.values["reward/return"] > 0
    terms = AlignmentLoss(model, config)(batch, with_memory, right)
    assert float(terms["loss/calibrated_scores"].detach()) > 0
    without_memory = DapController(model, config).on_batch(batch)
    assert without_memory.library is None
    assert not bool(without_memory.calibration.memory.any())
