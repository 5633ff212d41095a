"""Attention on point clouds, as plain data: what a page needs to paint a shape by its caption's words."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.data.corpus import Corpus
from experiments.evaluation.attention_plots import MOST_WORDS, upright_cloud, word_attention
from models import AlignmentModel

SHAPES = 3
"""Shapes of the test split that a run keeps."""


def attention_clouds(
    model: AlignmentModel, corpus: Corpus, indices: Tensor, device: torch.device
) -> list[dict[str, Any]]:
    """Shapes with the attention of the words of their first captions, under HAF alone.

    Args:
        model: A model.
        corpus: The data.
        indices: ``[n]`` shapes.
        device: Where the model is.

    Returns:
        One object per shape: ``caption``; ``count`` of points; ``points`` (``P * 3`` int16, the largest
        coordinate at 32767, z up) and ``colors`` (``P * 3`` bytes); ``words``, each with its ``word``, its
        ``weight`` in the score, and its ``attention`` (``P`` bytes, 255 at the most). Arrays are base64,
        little endian.
    """
    return [_of_shape(model, corpus, index, device) for index in indices.split(1)]


def _of_shape(model: AlignmentModel, corpus: Corpus, index: Tensor, device: torch.device) -> dict[str, Any]:
    weights, light = word_attention(model, corpus, index, device, None)
    caption = int(corpus.first_texts(index))
    words = corpus.text.strings[caption]
    shown = weights.topk(min(MOST_WORDS, len(words))).indices.sort().values.tolist()
    cloud, colors = upright_cloud(corpus, index)
    centered = cloud - (cloud.amax(0) + cloud.amin(0)) / 2
    places = centered / centered.norm(dim=1).max().clamp(min=1e-9)
    return {
        "caption": corpus.captions[caption],
        "count": len(cloud),
        "points": _base64((32767 * places).round().numpy().astype("<i2")),
        "colors": _base64((255 * colors).round().numpy().astype(np.uint8)),
        "words": [
            {
                "word": words[place],
                "weight": round(float(weights[place]), 4),
                "attention": _base64(
                    (255 * light[place] / light[place].max().clamp(min=1e-30))
                    .round()
                    .numpy()
                    .astype(np.uint8)
                ),
            }
            for place in shown
        ],
    }


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode()
