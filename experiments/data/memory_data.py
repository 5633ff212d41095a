"""Known pairs from a dataset of their own, which ``memory=FOLDER`` names beside the data of a run."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from align3d.captions import normalize_caption
from align3d.errors import UserError
from align3d.pipeline import default_cache
from experiments.data.corpus import Corpus, encoded_corpus
from experiments.settings.preflight import open_memory
from experiments.settings.schema import RunConfig
from models import TextEncoder


def load_memory_data(config: RunConfig, corpus: Corpus, device: torch.device) -> Corpus | None:
    """The pairs of `open_memory`, encoded and prepared as those of the run, all in the split ``memory``.

    Args:
        config: The run's settings.
        corpus: The data of the run.
        device: Where captions are encoded.

    Raises:
        UserError: As `open_memory`, or another axis points up than in the run's data.
    """
    dataset = open_memory(config)
    if dataset is None:
        return None
    if dataset.up_axis != corpus.dataset.up_axis:
        raise UserError(
            f"memory={config.memory}: {dataset.up_axis} points up there, {corpus.dataset.up_axis} in "
            f"data={corpus.dataset.name}; build it with shapes that are turned"
        )
    cache = (config.cache or default_cache()).expanduser()
    encoder = TextEncoder(
        config.train.text_encoder, cache=cache / "text", device=device, max_tokens=config.train.max_tokens
    )
    splits = {"memory": torch.arange(len(dataset))}
    title = "encoding captions of the memory"
    return encoded_corpus(dataset, splits, encoder, config.model, cache, title)


def without_answers(known: Corpus, corpus: Corpus, asked: Tensor) -> Corpus:
    """The known pairs that do not give away the answers of others.

    Args:
        known: Known pairs, from `load_memory_data`.
        corpus: The data of the run.
        asked: ``[M]`` shapes of the run's data that are asked for, or ask.

    Returns:
        The same without the pairs whose shape has the content of one of these, or whose caption the normal
        form of one of theirs. What is left is in the split ``memory``.
    """
    hashes = corpus.dataset.content_hashes
    shapes = {hashes[index] for index in asked.tolist()}
    texts = {normalize_caption(corpus.captions[text]) for text in corpus.unique_texts(asked).tolist()}
    same_shape = torch.tensor([content in shapes for content in known.dataset.content_hashes])
    same_text = torch.tensor([normalize_caption(caption) in texts for caption in known.captions])
    given_away = same_shape.unsqueeze(1) | same_text[known.texts_of.clamp_min(0)]
    texts_of = known.texts_of.masked_fill(given_away, -1)
    left = (texts_of >= 0).any(1).nonzero().squeeze(1)
    return dataclasses.replace(known, texts_of=texts_of, splits={"memory": left})


def count_pairs(corpus: Corpus) -> int:
    """Number of pairs of a shape and a caption."""
    return int((corpus.texts_of >= 0).sum())
