"""A world in which known pairs help: texts and shapes that embeddings alone cannot match."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from experiments.data.bank import Bank
from experiments.data.corpus import Corpus
from experiments.data.encoding import embed_shapes, embed_texts
from experiments.evaluation.directions import directions_of
from experiments.evaluation.gallery import Gallery
from experiments.memory_controls.examined_run import Asked, Examined
from models import AlignmentMemory, AlignmentModel
from tests.experiments.run_folder.test_run_files import settings

CPU = torch.device("cpu")
SIZES = {"train": 300, "reward": 60, "test": 60}


@pytest.fixture
def world(model: AlignmentModel, corpus: Corpus) -> Examined:
    """A model and one text for each shape; the embeddings of shapes are those of their texts, turned.

    A text is therefore far from the shape that it means, while texts that are alike mean shapes that are
    alike. All else of the encoded masts, which HAF looks at, is as it is.
    """
    draws = torch.Generator().manual_seed(0)
    width = model.config.embedding
    turn = torch.linalg.qr(torch.randn(width, width, generator=draws)).Q
    text = embed_texts(model, corpus, torch.arange(len(corpus.captions)), CPU)
    shapes = embed_shapes(model, corpus, torch.arange(len(corpus.dataset)), CPU)

    def embedded(count: int) -> tuple[Tensor, Tensor]:
        plane = torch.randn(count, 3, generator=draws) @ torch.eye(3, width)
        places = torch.nn.functional.normalize(plane, dim=1)
        return places, places @ turn

    found = {}
    for name, count in SIZES.items():
        of_text, of_shape = embedded(count)
        own = text.select(torch.arange(count) % len(corpus.captions))
        gallery = shapes.select(torch.arange(count) % len(corpus.dataset))
        found[name] = (
            dataclasses.replace(own, embedding=of_text),
            dataclasses.replace(gallery, embedding=of_shape),
        )
    config = settings(data="procedural", model="tiny", **{"eval.candidates": SIZES["test"]})
    asked, start = [], SIZES["train"]
    for name in ("reward", "test"):
        own, gallery = found[name]
        count = SIZES[name]
        encoded = Gallery(
            shapes=gallery,
            text=own,
            positives=torch.eye(count, dtype=torch.bool),
            first=torch.arange(count),
            similarity=own.embedding @ gallery.embedding.T,
            keys_values=model.haf.project(gallery),
        )
        with torch.no_grad():
            plain = directions_of(model, encoded, config.eval)
        asked.append(Asked(torch.arange(start, start + count), encoded, plain))
        start += count
    own, gallery = found["train"]
    pairs = torch.arange(SIZES["train"]).unsqueeze(1).expand(-1, 2).contiguous()
    bank = Bank(AlignmentMemory(own.embedding, gallery.embedding, pairs), own, gallery)
    every = sum(SIZES.values())
    many = dataclasses.replace(
        corpus,
        texts_of=torch.arange(every).unsqueeze(1),
        splits={
            "train": torch.arange(SIZES["train"]),
            "reward": asked[0].indices,
            "test": asked[1].indices,
        },
    )
    return Examined(model, config, many, CPU, bank, *asked)
