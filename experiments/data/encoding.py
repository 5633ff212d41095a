"""Encoding of many shapes and texts by a trained model, piece by piece."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from align3d.console.terminal import say
from models import AlignmentModel, PointHierarchy, TextEmbedding, TextEncoder, TextFeatures

if TYPE_CHECKING:
    from experiments.data.corpus import Corpus

CHUNK = 128
NAMED = 5  # of the unknown words that are said


@contextmanager
def frozen(model: AlignmentModel) -> Iterator[None]:
    """Without gradients and without dropout; the mode is put back."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def embed_shapes(
    model: AlignmentModel,
    corpus: Corpus,
    indices: Tensor,
    device: torch.device,
    advance: Callable[[int], None] | None = None,
) -> PointHierarchy:
    """The shapes at ``indices`` ``[M]`` as a gallery.

    Args:
        model: Encodes them.
        corpus: Holds them.
        indices: Their rows.
        device: Where they are encoded.
        advance: Called with the number of shapes after each piece, for a progress bar.
    """
    parts = []
    with frozen(model):
        for rows in indices.split(CHUNK):
            parts.append(model.encode_shapes(corpus.shapes[rows].to(device)))
            if advance is not None:
                advance(len(rows))
    names = [field.name for field in dataclasses.fields(PointHierarchy) if field.name != "hidden"]
    return PointHierarchy(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def embed_texts(model: AlignmentModel, corpus: Corpus, texts: Tensor, device: torch.device) -> TextEmbedding:
    """The captions at ``texts`` ``[Q]``, padded to the longest."""
    return embed_features(model, corpus.text.select(texts), device)


def embed_features(model: AlignmentModel, features: TextFeatures, device: torch.device) -> TextEmbedding:
    """Texts whose tokens the frozen encoder has seen, padded to the longest."""
    with frozen(model):
        parts = []
        for rows in torch.arange(len(features)).split(CHUNK):
            piece = features.select(rows)
            short = features.tokens.shape[1] - piece.tokens.shape[1]
            encoded = model.encode_text(piece.to(device))
            parts.append(
                TextEmbedding(
                    torch.nn.functional.pad(encoded.tokens, (0, 0, 0, short)),
                    torch.nn.functional.pad(encoded.mask, (0, short)),
                    torch.nn.functional.pad(encoded.quantities, (0, 0, 0, short), value=torch.nan),
                    encoded.embedding,
                )
            )
    return TextEmbedding(
        tokens=torch.cat([p.tokens for p in parts]),
        mask=torch.cat([p.mask for p in parts]),
        quantities=torch.cat([p.quantities for p in parts]),
        embedding=torch.cat([p.embedding for p in parts]),
    )


def tell_unread(features: TextFeatures, encoder: TextEncoder) -> None:
    """One line on stderr for what of the texts the frozen encoder does not read, where there is anything."""
    unread = []
    if features.unknown:
        named = ", ".join(f"{word!r} {count}x" for word, count in features.unknown.most_common(NAMED))
        more = ", ..." if len(features.unknown) > NAMED else ""
        unread.append(f"{len(features.unknown):,} words unknown to it and without meaning ({named}{more})")
    if features.cut:
        unread.append(
            f"{features.cut:,} texts cut after their first train.max_tokens={encoder.max_tokens} words"
        )
    if unread:
        say(
            f"train.text_encoder={encoder.name}, {len(features):,} texts: {'; '.join(unread)}",
            error=True,
        )
