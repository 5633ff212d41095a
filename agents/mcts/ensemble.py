"""Deep ensemble: networks that see different samples of the same rows, and disagree where little is known."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override


class Ensemble(nn.Module):
    """``M`` networks of two hidden layers, run as one batched product per layer; all predict zero at first.

    A deep ensemble (Lakshminarayanan et al., 2017). Each member learns from a bootstrap sample of its own, so
    that the standard deviation of the members says how much a prediction depends on which rows were seen.

    Args:
        size: Number of networks, ``M``.
        inputs: Size of an input, ``O``.
        outputs: Size of a prediction, ``A``.
        hidden: Width of both hidden layers.
    """

    def __init__(self, size: int, inputs: int, outputs: int, hidden: int) -> None:
        super().__init__()
        sizes = (inputs, hidden, hidden, outputs)
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for fan_in, fan_out in pairwise(sizes):
            bound = fan_in**-0.5
            self.weights.append(nn.Parameter(torch.empty(size, fan_in, fan_out).uniform_(-bound, bound)))
            self.biases.append(nn.Parameter(torch.zeros(size, 1, fan_out)))
        nn.init.zeros_(self.weights[-1])

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        """Predictions of each member, ``[M, B, A]``, for inputs ``[B, O]``."""
        hidden = inputs.expand(len(self.weights[0]), *inputs.shape)
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.baddbmm(bias, hidden, weight)
            if layer < last:
                hidden = functional.gelu(hidden)
        return hidden
