"""Policy that the agent follows without labels where its network is not sure of anything better."""

from __future__ import annotations

import torch
from torch import Tensor


class DefaultPolicy:
    """The actions of the best fixed calibration, one after the other, in each of ``B`` rows.

    What a row has made by itself is not made again: steps add up, so their order does not matter.

    Args:
        sequence: Actions of the fixed calibration, i64 ``[n]``.
        actions: Number of actions, ``A``.
        rows: Number of rows, ``B``.
        device: Device of the rows.
    """

    def __init__(self, sequence: Tensor, actions: int, rows: int, device: torch.device) -> None:
        self._order = list(dict.fromkeys(sequence.tolist()))
        counts = torch.bincount(sequence, minlength=actions).to(device)
        self._left = counts.expand(rows, -1).clone()

    def next(self, mask: Tensor) -> Tensor:
        """First action that is left and legal in each row, i64 ``[B]``; -1 if there is none.

        Args:
            mask: Legal actions, bool ``[B, A]``.
        """
        chosen = torch.full_like(self._left[:, 0], -1)
        for action in reversed(self._order):
            chosen = torch.where((self._left[:, action] > 0) & mask[:, action], action, chosen)
        return chosen

    def made(self, action: Tensor) -> None:
        """Take note of the actions that rows have made, i64 ``[B]``, -1 for none."""
        made = torch.nn.functional.one_hot(action.clamp_min(0), self._left.shape[1])
        self._left = (self._left - made * (action >= 0).unsqueeze(1)).clamp_min(0)
