"""A light re-ranker: late interaction on a few small nodes of a shape, and the measures that numbers ask for.

HAF scores every (token, shape) pair by matrix products that are wide and many. Here the parts that depend on
one side alone are brought down to ``d`` dimensions, and a pair is scored by

    sum over tokens of  max over nodes <p_t, c_n>                        (ColBERT, Khattab and Zaharia, 2020)
    + sum over numbers of  sum over axes  softmax_axes(<a_t, c_axis>) <e_t, evidence(number, axis)>

with the evidence of `models.quantity_evidence`. It is trained to rank as HAF does (by `LightHead.scores`), on
features that HAF's training left; `late_interaction_kernel` computes the same from what
`compress_shapes` and `compress_texts` keep.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.alignment import TextEmbedding
from models.layers import gather_rows, perceptron
from models.points import AXIS_NODES, OBJECT_NODES, PointHierarchy
from models.quantity_evidence import EVIDENCE, quantity_evidence, value_and_log_length
from models.rerank.int8_products import BLOCK, ByteVectors, in_blocks, in_bytes

NODES = 32
WIDTH = 64
_AXES = AXIS_NODES.stop - AXIS_NODES.start
_LARGEST_BYTE = 255.0


@dataclass
class LightShapes:
    """``M`` shapes as `models.rerank.late_interaction_kernel` reads them.

    Attributes:
        codes: ``[M, N / 16, d / 4, 16, 4]`` uint8, the axes' nodes last: `int8_products.in_blocks`.
        scales: ``[M, N]`` float32, what a node's codes are multiplied by.
        extent: ``[M, 3]`` float32, see `models.points.PointHierarchy`.
        spectrum: ``[M, 3, CHANNELS, F]`` uint8.
        spectrum_scales: ``[M, 3, CHANNELS]`` float32.
    """

    codes: NDArray[np.uint8]
    scales: NDArray[np.float32]
    extent: NDArray[np.float32]
    spectrum: NDArray[np.uint8]
    spectrum_scales: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def bytes_per_shape(self) -> int:
        """Bytes that a shape takes."""
        parts = (self.codes, self.scales, self.extent, self.spectrum, self.spectrum_scales)
        return sum(part[:1].nbytes for part in parts)


@dataclass
class LightTexts:
    """``Q`` texts as the kernel reads them, one text's tokens and numbers behind the other's.

    Attributes:
        tokens: ``sum of T`` of length ``d``.
        first_token: ``[Q + 1]`` int64, where each text's tokens begin.
        along: ``K`` of length ``d``, by which a number looks for its axis.
        evidence: ``[K, EVIDENCE]`` float32, what it makes of the evidence.
        quantities: ``[K, 2]`` float32, the value, and the binary logarithm of the length in millimeters,
            `models.quantity_evidence.NO_LENGTH` where it is none.
        first_number: ``[Q + 1]`` int64, where each text's numbers begin.
    """

    tokens: ByteVectors
    first_token: NDArray[np.int64]
    along: ByteVectors
    evidence: NDArray[np.float32]
    quantities: NDArray[np.float32]
    first_number: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.first_token) - 1


class LightHead(nn.Module):
    """Learned part of the light re-ranker.

    Args:
        model_width: ``D`` of the alignment model's tokens and nodes.
        level_sizes: Nodes at each of the model's levels.
        nodes: ``N`` that are kept of a shape: the object's, the regions, and the patches that farthest-point
            sampling found first, as many as there is room for.
        width: ``d``.
    """

    kept: Tensor

    def __init__(
        self, model_width: int, level_sizes: tuple[int, ...], *, nodes: int = NODES, width: int = WIDTH
    ) -> None:
        super().__init__()
        patches, *others = level_sizes
        if others[-1] != OBJECT_NODES or nodes < sum(others):
            raise ValueError(f"nodes={nodes} of levels {level_sizes}: expected at least {sum(others)}")
        kept = min(patches, nodes - sum(others))
        rows = torch.cat([torch.arange(kept), torch.arange(patches, sum(level_sizes))])
        self.register_buffer("kept", rows, persistent=False)
        self.token = nn.Linear(model_width, width)
        self.node = nn.Linear(model_width, width)
        self.weight = nn.Linear(model_width, 1)
        self.along = nn.Linear(model_width, width)
        self.evidence = perceptron(model_width, model_width, EVIDENCE)

    def encode_shapes(self, shapes: PointHierarchy) -> Tensor:
        """``[M, N, d]``."""
        return self.node(shapes.nodes[:, self.kept])

    def scores(self, text: TextEmbedding, shapes: PointHierarchy, candidates: Tensor) -> Tensor:
        """Scores ``[B, C]`` of texts against candidates ``[B, C]`` among the shapes, for training.

        Only the shapes that are candidates are encoded; the logits of the global embeddings are not added.
        """
        tokens, along, evidence, numbers = self._ask(text)
        codes = self.node(shapes.nodes[:, self.kept][candidates])  # [B, C, N, d]
        scores = torch.einsum("btd,bcnd->bcnt", tokens, codes).amax(2).sum(-1)
        row, token = numbers
        measured = quantity_evidence(
            text.quantities[row, token].unsqueeze(1),
            shapes.extent[candidates[row]],
            shapes.spectrum[candidates[row]],
        ).squeeze(2)  # [K, C, 3, EVIDENCE]
        axes = gather_rows(codes[:, :, -_AXES:], row)  # [K, C, 3, d]
        attention = torch.einsum("kd,kcad->kca", along, axes).softmax(-1)
        return scores.index_add(0, row, torch.einsum("kca,kcae,ke->kc", attention, measured, evidence))

    @torch.no_grad()
    def compress_shapes(self, shapes: PointHierarchy) -> LightShapes:
        """Keeps of shapes what the kernel needs."""
        codes, scales = in_bytes(self.encode_shapes(shapes))
        spectrum = shapes.spectrum.float()
        peak = spectrum.amax(-1).clamp_min(1e-7) / _LARGEST_BYTE
        bytes_ = (spectrum / peak.unsqueeze(-1)).round().to(torch.uint8)
        return LightShapes(
            in_blocks(codes),
            np.pad(scales, ((0, 0), (-scales.shape[1] % BLOCK, 0)), mode="edge"),
            shapes.extent.float().cpu().numpy(),
            bytes_.cpu().numpy(),
            peak.cpu().numpy(),
        )

    @torch.no_grad()
    def compress_texts(self, text: TextEmbedding) -> LightTexts:
        """Keeps of texts what the kernel needs."""
        tokens, along, evidence, (row, token) = self._ask(text)
        mask = text.mask.cpu()
        value, log_length = value_and_log_length(text.quantities[row, token])
        return LightTexts(
            tokens=ByteVectors.of(tokens.cpu()[mask]),
            first_token=_starts(mask.sum(1)),
            along=ByteVectors.of(along),
            evidence=evidence.cpu().numpy(),
            quantities=torch.stack([value, log_length], -1).float().cpu().numpy(),
            first_number=_starts(torch.bincount(row.cpu(), minlength=len(mask))),
        )

    def _ask(self, text: TextEmbedding) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, Tensor]]:
        """``[B, T, d]`` of tokens, ``[K, d]`` and ``[K, EVIDENCE]`` of numbers, and where the numbers are."""
        weight = self.weight(text.tokens).squeeze(-1).masked_fill(~text.mask, -torch.inf).softmax(-1)
        tokens = self.token(text.tokens) * weight.unsqueeze(-1)  # zero at padding
        real = text.mask & ~text.quantities[..., 0].isnan()
        row, token = torch.nonzero(real, as_tuple=True)
        asking = text.tokens[row, token]
        along = self.along(asking) * asking.new_tensor(float(self.along.out_features)).rsqrt()
        return tokens, along, self.evidence(asking) * weight[row, token].unsqueeze(-1), (row, token)


def _starts(counts: Tensor) -> NDArray[np.int64]:
    """``[n + 1]``: where each of ``n`` pieces of these sizes begins, and the end."""
    return np.concatenate([[0], np.cumsum(counts.cpu().numpy())]).astype(np.int64)
