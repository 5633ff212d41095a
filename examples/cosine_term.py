"""A term of HAF's score in one file: the cosine of a token and of what it is aligned with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import HierarchicalAttentionFusion, ModelConfig
from models.token_score import NumberEvidence


class CosineFusion(HierarchicalAttentionFusion):
    """HAF whose tokens also score by their cosine with the shape.

    Args:
        config: Sizes.
        level_sizes: Nodes at each level, fine to coarse.
    """

    def __init__(self, config: ModelConfig, level_sizes: tuple[int, ...]) -> None:
        super().__init__(config, level_sizes)
        self.gain = nn.Parameter(torch.zeros(()))

    def token_queries(self, tokens: Tensor) -> Tensor:
        """Token queries ``[B, T, 3 * P + D]`` of tokens ``[B, T, D]``: the term's come last."""
        return torch.cat([super().token_queries(tokens), F.normalize(tokens, dim=-1)], dim=-1)

    def score_tokens(self, queries: Tensor, aligned: Tensor, evidence: Tensor | NumberEvidence) -> Tensor:
        """Scores ``[B, C, T]`` with the term; everything that scores a token asks here."""
        width = aligned.shape[-1]
        cosine = torch.einsum("btd,bctd->bct", queries[..., -width:], F.normalize(aligned, dim=-1))
        return super().score_tokens(queries[..., :-width], aligned, evidence) + self.gain * cosine
