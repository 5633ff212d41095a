"""The whole model: a text tower, a point encoder, global embeddings to index and HAF to re-rank."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.config import ModelConfig
from models.fourier import NUMBER_FEATURES, number_features
from models.haf import AttentionState, HierarchicalAttentionFusion
from models.layers import Transformer, full_precision, gather_rows, perceptron
from models.memory import LibraryEvidence
from models.points import PointEncoder, PointHierarchy
from models.shapes import ShapeBatch
from models.text import TextFeatures

MAX_LOGIT_SCALE = 100.0


@dataclass
class TextEmbedding:
    """Encoded texts.

    Attributes:
        tokens: ``[B, T, D]``.
        mask: ``[B, T]`` bool.
        quantities: ``[B, T, 2]`` values and lengths in millimeters, NaN where a token is not a number.
        embedding: ``[B, E]``, L2-normalized global embedding.
    """

    tokens: Tensor
    mask: Tensor
    quantities: Tensor
    embedding: Tensor

    def select(self, index: Tensor) -> TextEmbedding:
        """The texts at ``index``, int64."""
        return TextEmbedding(
            gather_rows(self.tokens, index),
            self.mask[index],
            self.quantities[index],
            gather_rows(self.embedding, index),
        )


class TextTower(nn.Module):
    """A few trained layers over the frozen encoder's tokens and the numbers' values."""

    def __init__(self, config: ModelConfig, text_width: int) -> None:
        super().__init__()
        width = config.width
        self.token_dropout = config.token_dropout
        self.token = nn.Linear(text_width, width)
        self.number = perceptron(NUMBER_FEATURES, 2 * width, width)
        self.position = nn.Parameter(0.02 * torch.randn(64, width))
        self.transformer = Transformer(config.text_layers, width, config.heads, config.dropout)
        self.attention = nn.Linear(width, config.heads)
        self.embedding = perceptron(config.heads * width, 2 * config.embedding, config.embedding)

    def forward(self, text: TextFeatures) -> TextEmbedding:
        """Encodes ``B`` texts of at most 64 tokens."""
        mask = self._drop_tokens(text.mask)
        mask = mask | (~mask.any(-1, keepdim=True) & (torch.arange(mask.shape[1], device=mask.device) == 0))
        length = mask.shape[1]
        x = (
            self.token(text.tokens)
            + self.number(number_features(text.quantities[..., 0]))
            + self.position[:length]
        )
        tokens = self.transformer(x, mask)
        weight = (
            self.attention(tokens).masked_fill(~mask.unsqueeze(-1), -torch.inf).softmax(1)
        )  # [B, T, heads]
        pooled = (weight.transpose(1, 2) @ tokens).flatten(1)
        embedding = nn.functional.normalize(self.embedding(pooled), dim=-1)
        return TextEmbedding(tokens, mask, text.quantities, embedding)

    def _drop_tokens(self, mask: Tensor) -> Tensor:
        if not self.training or self.token_dropout == 0:
            return mask
        return mask & (torch.rand(mask.shape, device=mask.device) >= self.token_dropout)


class AlignmentModel(nn.Module):
    """Text-shape alignment at two grains.

    Global embeddings know nothing of each other and can be indexed; HAF looks at a pair and re-ranks. Both
    are trained by symmetric InfoNCE with several positives; the temperature is learned and clamped at 100.

    Args:
        config: Sizes.
        text_width: ``D_text`` of the frozen text encoder.
    """

    def __init__(self, config: ModelConfig, text_width: int) -> None:
        super().__init__()
        self.config = config
        self.text = TextTower(config, text_width)
        self.points = PointEncoder(config)
        self.haf = HierarchicalAttentionFusion(config, self.points.level_sizes)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    @property
    def logit_scale(self) -> Tensor:
        """Inverse temperature of the global embeddings' cosine."""
        return self.log_scale.exp().clamp(max=MAX_LOGIT_SCALE)

    def encode_text(self, text: TextFeatures) -> TextEmbedding:
        """Texts to tokens and global embeddings."""
        return self.text(text)

    def encode_shapes(self, shapes: ShapeBatch) -> PointHierarchy:
        """Shapes to a hierarchy of features and global embeddings."""
        return self.points(shapes)

    def attend(
        self,
        text: TextEmbedding,
        shapes: PointHierarchy,
        candidates: Tensor,
        paired: Tensor | None = None,
        keys_values: tuple[Tensor, Tensor] | None = None,
        library: LibraryEvidence | None = None,
    ) -> AttentionState:
        """HAF's attention of each text over its own candidates.

        Args:
            text: ``B`` texts.
            shapes: A gallery.
            candidates: ``[B, C]`` int64 indices into the gallery.
            paired: ``[B]`` candidate whose association may be calibrated; by default the best by embedding.
            keys_values: Projections of the gallery by `HierarchicalAttentionFusion.project`; None makes them.
            library: What a memory says of the pairs, see `models.library`; None is nothing.

        Returns:
            The state, batch ``[B]``.
        """
        with full_precision(text.embedding):  # logits of a hundred have steps of a half in bfloat16
            similarity = (text.embedding.float() @ shapes.embedding.float().T).gather(1, candidates)
        score = self.logit_scale * similarity
        return self.haf.attend(
            text.tokens, text.mask, text.quantities, shapes, candidates, score, paired, keys_values, library
        )
