"""Named parts of a batch, and attention that is taught to look at them."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from experiments.data.batches import Batches
from experiments.data.corpus import Corpus
from experiments.data.encoding import frozen
from experiments.data.part_mentions import PartLabels, find_pairs
from experiments.evaluation.gallery import encode_split
from experiments.evaluation.grounding import grounding
from experiments.settings.command import check
from experiments.settings.schema import register_sizes
from experiments.training.loss import AlignmentLoss
from models import AlignmentModel
from tests.experiments.evaluation.masts import CONFIG, PATCHES

CPU = torch.device("cpu")
register_sizes()


def test_a_batch_has_the_pairs_of_its_shapes_and_captions(corpus: Corpus) -> None:
    split = corpus.splits["test"]
    labels = PartLabels(corpus, split)
    pairs = find_pairs(corpus, split, len(split), torch.Generator().manual_seed(1))
    every = [(int(index), int(text)) for index in split for text in corpus.texts_of[index] if text >= 0]
    indices, texts = (torch.tensor(column) for column in zip(*every, strict=True))
    found = labels.of(indices, texts, CPU)
    assert len(found.rows) == len(pairs) > 5

    def told(shapes: torch.Tensor, said: torch.Tensor, words: torch.Tensor, on: torch.Tensor) -> set:
        rows = zip(shapes.tolist(), said.tolist(), words.tolist(), on.tolist(), strict=True)
        return {(shape, text, tuple(named), tuple(where)) for shape, text, named, where in rows}

    assert told(indices[found.rows], texts[found.rows], found.words, found.on_part) == told(
        split[pairs.shape], pairs.text, pairs.words, pairs.on_part
    )
    assert (found.points.sum(-1) == corpus.shapes.patch_of_point.shape[1]).all()
    assert (found.on_part <= found.points).all()
    unlabeled = torch.tensor([3, 7])
    nothing = labels.of(unlabeled, corpus.first_texts(unlabeled), CPU)
    assert (len(nothing.rows), nothing.on_part.shape) == (0, (0, PATCHES))


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_attention_learns_to_look_at_what_words_name(corpus: Corpus, weight: float) -> None:
    lengths = ["train.batch_size=12", "train.group=4", "train.epochs=40"]
    (config,) = check(["model=tiny", f"train.grounding={weight}", *lengths])
    corpus = dataclasses.replace(corpus, splits={"train": corpus.splits["test"]})
    torch.manual_seed(0)
    model = AlignmentModel(CONFIG, text_width=12)
    objective = AlignmentLoss(model, config)
    batches = Batches(corpus, config.train, 0, CPU)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(40):
        terms = objective(batches.at(step))
        assert ("loss/grounding" in terms) == bool(weight)
        terms["loss/total"].backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    with frozen(model):
        gallery = encode_split(model, corpus, corpus.splits["train"], CPU)
    ratio = grounding(model, corpus, corpus.splits["train"], gallery)["before"]["mass_ratio"]
    assert (ratio > 1.5) == bool(weight)
