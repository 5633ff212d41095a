"""Masts with flags: a small source with part labels, and what an untrained model makes of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from align3d import Item, Record
from align3d.hashing import hash_json, item_generator
from align3d.pipeline import build
from experiments.data.corpus import Corpus, unify
from experiments.data.part_mentions import LEAST_POINTS
from experiments.evaluation.gallery import Gallery, encode_split
from models import SIZES, AlignmentModel, TextFeatures, prepare_shapes
from models.text import tokenize

CONFIG = dataclasses.replace(SIZES["tiny"], color_dropout=0.0)
PATCHES, REGIONS = CONFIG.patches, CONFIG.regions
LEVEL_SIZES = (PATCHES, REGIONS, 4)
CAPTIONS = (
    "a mast with a red flag",  # names the flag
    "a thing of {} cm with a bolt and its pole",  # the pole, and a bolt of too few points
    "a thing",  # names nothing
)


class Masts:
    """Poles along z with a flag at their upper end: three in four with labels, the fourth without."""

    name: ClassVar[str] = "masts"

    def fingerprint(self) -> str:
        return hash_json(["masts", 1])

    def items(self) -> list[Item]:
        return [Item(f"{number:02d}", number) for number in range(16)]

    def read(self, item: Item, points: int, seed: int) -> Record:
        number = int(item.payload)
        rng = item_generator(seed, item.id)
        xyz = rng.uniform(-1, 1, size=(points, 3)) * (0.05, 0.05, 1.0)
        flag = np.arange(points) % (3 + number) == 0
        xyz[flag] = rng.uniform(0, 1, size=(int(flag.sum()), 3)) * (0.9, 0.02, 0.4) + (0, 0, 0.6)
        xyz -= xyz.mean(0)
        part = flag.astype(np.int16)
        part[np.flatnonzero(~flag)[: LEAST_POINTS - 1]] = 2
        labeled = number % 4 != 3
        return Record(
            id=item.id,
            source=self.name,
            category="mast",
            captions=(CAPTIONS[2],) if number % 4 == 2 else tuple(c.format(number) for c in CAPTIONS),
            points=(xyz / np.linalg.norm(xyz, axis=1).max()).astype(np.float16),
            colors=np.zeros((points, 3), np.uint8),
            part=part if labeled else np.full(points, -1, np.int16),
            part_names=("pole", "flag", "bolt") if labeled else (),
            size_m=np.ptp(xyz, axis=0).astype(np.float32),
            up_axis="z",
            license="CC0-1.0",
            content_hash=hash_json(number),
        )


def masts(folder: Path) -> Corpus:
    dataset = build(Masts(), folder, points=512, workers=1)
    captions, texts_of = unify(dataset.captions)
    strings = [[word for word, _, _ in tokenize(caption)] for caption in captions]
    mask = torch.arange(max(map(len, strings))) < torch.tensor([len(words) for words in strings])[:, None]
    draws = torch.Generator().manual_seed(0)
    tokens = torch.randn(*mask.shape, 12, generator=draws) * mask.unsqueeze(-1)
    every = slice(0, len(dataset))
    return Corpus(
        dataset=dataset,
        shapes=prepare_shapes(
            torch.from_numpy(dataset.points(every)),
            torch.from_numpy(dataset.colors(every)),
            torch.from_numpy(dataset.size_m(every)),
            CONFIG,
        ),
        captions=captions,
        text=TextFeatures(tokens, mask, torch.full((*mask.shape, 2), torch.nan), strings),
        texts_of=texts_of,
        splits={"test": torch.arange(1, len(dataset))},
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return masts(tmp_path_factory.mktemp("masts") / "data")


@pytest.fixture(scope="module")
def model() -> AlignmentModel:
    torch.manual_seed(0)
    return AlignmentModel(CONFIG, text_width=12).eval()


@pytest.fixture(scope="module")
def gallery(model: AlignmentModel, corpus: Corpus) -> Gallery:
    return encode_split(model, corpus, corpus.splits["test"], torch.device("cpu"))
