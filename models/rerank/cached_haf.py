"""A cached re-ranker: what HAF needs of a shape and of a text, kept small, and HAF's scores from it.

`models.haf` makes keys and values anew in every call, over padded tokens, as training needs. To re-rank, all
that depends on one side alone is kept: of a shape its keys and values, in half precision or in 8 bits with
one scale per node, its extents and its spectra; of a text the queries of its tokens. The scores are those of
`HierarchicalAttentionFusion.fuse` but for rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from models.alignment import TextEmbedding
from models.haf import HierarchicalAttentionFusion, refuse_overrides
from models.points import AXIS_NODES, PointHierarchy
from models.quantity_evidence import quantity_evidence
from models.token_score import NumberEvidence, evidence_along

Precision = Literal["float16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("float16", "int8")
_CHUNK = 256


@dataclass
class CompactShapes:
    """``M`` shapes.

    Attributes:
        keys: ``[M, N, D]`` float16 or int8.
        values: ``[M, N, D]`` of the same type.
        scales: ``[M, N, 2]`` float16, what keys and values of 8 bits are multiplied by; ``[M, N, 0]`` with
            float16.
        extent: ``[M, 3]`` float32, see `models.points.PointHierarchy`.
        spectrum: ``[M, 3, AXIS_CHANNELS, F]`` float16.
    """

    keys: Tensor
    values: Tensor
    scales: Tensor
    extent: Tensor
    spectrum: Tensor

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def bytes_per_shape(self) -> int:
        """Bytes that a shape takes."""
        parts = (self.keys, self.values, self.scales, self.extent, self.spectrum)
        return sum(part[:1].numel() * part.element_size() for part in parts)


@dataclass
class CompactTexts:
    """``Q`` texts.

    Attributes:
        query: ``[Q, T, D]`` scaled queries of the attention.
        token_queries: ``[Q, T, 3 * P]`` see `models.token_score.TokenScorer.token_queries`.
        weights: ``[Q, H, T, L]`` of levels and heads.
        token_weights: ``[Q, T]`` sum to one, zero at padding.
        quantities: ``[Q, T, 2]`` see `models.quantities`.
        lengths: ``[Q]`` real tokens; they stand first.
    """

    query: Tensor
    token_queries: Tensor
    weights: Tensor
    token_weights: Tensor
    quantities: Tensor
    lengths: Tensor

    def __len__(self) -> int:
        return len(self.query)


@torch.no_grad()
def compact_shapes(
    haf: HierarchicalAttentionFusion, shapes: PointHierarchy, precision: Precision = "float16"
) -> CompactShapes:
    """Keeps of shapes what HAF needs.

    Raises:
        ValueError: No such precision, or a HAF that attends or fuses in another way.
    """
    refuse_overrides(haf, "the cached re-ranker", "attend", "fuse")
    if precision not in PRECISIONS:
        raise ValueError(f"precision={precision!r}: expected one of {', '.join(PRECISIONS)}")
    keys: list[Tensor] = []
    values: list[Tensor] = []
    scales: list[Tensor] = []
    for nodes in shapes.nodes.split(_CHUNK):
        own = []
        for kept, made in ((keys, haf.key(nodes)), (values, haf.value(nodes))):
            if precision == "int8":
                codes, scale = quantise(made)
                kept.append(codes)
                own.append(scale)
            else:
                kept.append(made.half())
        scales.append(torch.stack(own, -1) if own else nodes.new_empty((*nodes.shape[:2], 0)).half())
    return CompactShapes(
        torch.cat(keys), torch.cat(values), torch.cat(scales), shapes.extent.float(), shapes.spectrum.half()
    )


def quantise(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors in 8 bits: int8 codes ``[..., D]`` and the float16 scales ``[...]`` that multiply them."""
    scale = (vectors.abs().amax(-1) / 127).clamp_min(1e-7).half()
    codes = (vectors / scale.float().unsqueeze(-1)).round().clamp(-127, 127)
    return codes.to(torch.int8), scale


@torch.no_grad()
def compact_texts(haf: HierarchicalAttentionFusion, text: TextEmbedding) -> CompactTexts:
    """Keeps of texts what HAF needs.

    Raises:
        ValueError: Padding stands before a real token.
    """
    lengths = text.mask.sum(1)
    if not bool(
        (text.mask == (torch.arange(text.mask.shape[1], device=lengths.device) < lengths[:, None])).all()
    ):
        raise ValueError("padding before a real token: expected the real tokens first")
    per_head = text.tokens.shape[-1] // haf.heads
    _, weights = haf.level_head_weights(haf.gate(text.tokens), haf.head.unsqueeze(0))
    pooled = haf.token_weight(text.tokens).squeeze(-1).masked_fill(~text.mask, -torch.inf)
    return CompactTexts(
        query=haf.query(text.tokens) * per_head**-0.5,
        token_queries=haf.token_queries(text.tokens),
        weights=weights,
        token_weights=pooled.softmax(-1),
        quantities=text.quantities,
        lengths=lengths,
    )


@torch.no_grad()
def fine_scores(
    haf: HierarchicalAttentionFusion,
    texts: CompactTexts,
    shapes: CompactShapes,
    queries: Tensor,
    rows: Tensor,
) -> Tensor:
    """HAF's fine-grained scores ``[B, C]``, without the logits of the global embeddings.

    Args:
        haf: Of the model that both were made by.
        texts: ``Q`` texts.
        shapes: ``M`` shapes.
        queries: ``[B]`` texts, best of like length: padding to the longest is computed.
        rows: ``[B, C]`` shapes.
    """
    batch, count = rows.shape
    length = int(texts.lengths[queries].max())
    query = texts.query[queries, :length]  # [B, T, D]
    nodes, width = shapes.keys.shape[1:]
    per_head = width // haf.heads
    flat = rows.reshape(-1)
    keys, values = _unpacked(shapes, flat)  # [B * C, N, D]
    keys = keys.view(batch, count * nodes, width)
    weights = texts.weights[queries, :, :length]  # [B, H, T, L]
    aligned = keys.new_empty(batch * count, length, width)
    axes = keys.new_empty(batch, count, length, haf.heads, AXIS_NODES.stop - AXIS_NODES.start)
    for head in range(haf.heads):
        part = slice(head * per_head, (head + 1) * per_head)
        logits = torch.bmm(query[:, :, part], keys[:, :, part].transpose(1, 2))  # [B, T, C * N]
        logits = logits.view(batch, length, count, nodes)
        maps = [
            level.softmax(-1).mul_(weights[:, head, :, number, None, None])
            for number, level in enumerate(logits.split(haf.level_sizes, dim=-1))
        ]
        axes[..., head, :] = maps[-1][..., AXIS_NODES].transpose(1, 2)
        attention = torch.cat(maps, dim=-1).transpose(1, 2).reshape(batch * count, length, nodes)
        aligned[:, :, part] = torch.bmm(attention, values[:, :, part])
    token_scores = haf.score_tokens(
        texts.token_queries[queries, :length],
        aligned.view(batch, count, length, width),
        _evidence(texts, shapes, queries, rows, axes, length),
    )
    return torch.einsum("bt,bct->bc", texts.token_weights[queries, :length], token_scores)


def _unpacked(shapes: CompactShapes, rows: Tensor) -> tuple[Tensor, Tensor]:
    keys, values = shapes.keys[rows].float(), shapes.values[rows].float()
    if shapes.scales.shape[-1]:
        scales = shapes.scales[rows].float()
        keys *= scales[..., :1]
        values *= scales[..., 1:]
    return keys, values


def _evidence(
    texts: CompactTexts,
    shapes: CompactShapes,
    queries: Tensor,
    rows: Tensor,
    axes: Tensor,
    length: int,
) -> NumberEvidence:
    """Evidence on the numbers among the first tokens; each number is a text of one token here."""
    row, token = torch.nonzero(~texts.quantities[queries, :length, 0].isnan(), as_tuple=True)
    evidence = quantity_evidence(
        texts.quantities[queries[row], token].unsqueeze(1),
        shapes.extent[rows[row]],
        shapes.spectrum[rows[row]].float(),
    ).squeeze(2)  # [Q, C, 3, EVIDENCE]
    return NumberEvidence(row, token, evidence_along(axes[row, :, token], evidence))
