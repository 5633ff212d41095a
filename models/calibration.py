"""Calibration of HAF's attention: the sum of a calibration policy's actions.

Every entry is additive, in log space or as a strength, so that all zeros is the identity and actions commute.
"""

from __future__ import annotations

import torch
from tensordict import TensorClass
from torch import Tensor


class Calibration(TensorClass):
    """Changes of the attention of ``B`` queries, batch size ``[B]``.

    Attributes:
        level: ``[B, L]``, added to the log of the gates over levels.
        temperature: ``[B, L]``, log sharpness: the attention logits of level ``l`` are multiplied by its exp.
        head: ``[B, L, H]``, added to the log of the weights of the heads.
        token: ``[B, T]``, added to the log of the weights by which the tokens' scores are pooled.
        association: ``[B, T, R]``, added to the attention logits of every point of region ``r`` for token
            ``t``, on the paired candidate alone (the paper's action on a token-point association).
        memory: ``[B]``, the strength by which the library's recall is added to the scores, see
            `models.library`.
        hubness: ``[B]``, the strength by which candidates' hubness is subtracted from them.
    """

    level: Tensor
    temperature: Tensor
    head: Tensor
    token: Tensor
    association: Tensor
    memory: Tensor
    hubness: Tensor

    @classmethod
    def identity(
        cls,
        batch: int,
        *,
        tokens: int,
        levels: int,
        heads: int,
        regions: int,
        device: torch.device | str = "cpu",
    ) -> Calibration:
        """The calibration that changes nothing."""

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(batch, *shape, device=device)

        return cls(
            level=zeros(levels),
            temperature=zeros(levels),
            head=zeros(levels, heads),
            token=zeros(tokens),
            association=zeros(tokens, regions),
            memory=zeros(),
            hubness=zeros(),
            batch_size=[batch],
        )
