"""Small building blocks: a pre-norm transformer, a two-layer perceptron and a gather of rows."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def perceptron(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Linear, ReLU, linear (GELU costs a CPU five times as much as ReLU and brought nothing here)."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def full_precision(like: Tensor) -> AbstractContextManager[object]:
    """A context in which products on the device of a tensor are not made in a lower precision."""
    kind = like.device.type
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()


def gather_rows(x: Tensor, index: Tensor) -> Tensor:
    """Rows ``x[index]``, whose gradients are summed in the order of the index: equal bits in every run.

    Where a row is taken twice, the gradient of ``x[index]`` itself is summed on the CPU by atomic additions
    of several threads, in whatever order they come; and element by element, which takes about ten times as
    long. That of an embedding is summed row by row, each row by one thread.

    Args:
        x: ``[M, ...]``; what is not contiguous is copied first.
        index: int64 of any shape, 0 to M - 1.

    Returns:
        ``[*index.shape, ...]``, contiguous.
    """
    return F.embedding(index, x.flatten(1)).unflatten(-1, x.shape[1:])


class TransformerLayer(nn.Module):
    """Pre-norm self-attention and perceptron over ``[B, N, D]`` with an optional key mask ``[B, N]``."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = perceptron(width, 4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """``[B, N, D]`` to ``[B, N, D]``."""
        batch, length, width = x.shape
        qkv = self.qkv(self.attention_norm(x)).view(batch, length, 3, self.heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each [B, H, N, D/H]
        bias = None if mask is None else mask[:, None, None, :]
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        x = x + self.dropout(self.output(attended.transpose(1, 2).reshape(batch, length, width)))
        return x + self.dropout(self.mlp(self.mlp_norm(x)))


class Transformer(nn.Module):
    """A stack of `TransformerLayer` and a final norm."""

    def __init__(self, layers: int, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TransformerLayer(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """``[B, N, D]`` to ``[B, N, D]``."""
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x)
