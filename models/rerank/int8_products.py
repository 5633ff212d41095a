"""Products of a token with the nodes of a shape, both in 8 bits, by instructions of the processor.

Nodes are laid out for them: blocks of `BLOCK` nodes, in a block four numbers of each node, then the next four
of each. They have no sign, 128 standing for zero, so that the sums begin at -128 times the token's sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numba.core import types
from numpy.typing import NDArray
from torch import Tensor

from compiling.instructions import QUAD, STEP, block_products, intrinsic, spread

BLOCK = 16
"""Nodes that are multiplied at once."""
ZERO = 128


@dataclass
class ByteVectors:
    """``n`` vectors that are multiplied with nodes.

    Attributes:
        codes: ``[n, d]`` int8.
        scales: ``[n]`` float32, what a vector's codes are multiplied by.
        starts: ``[n]`` int32, what sums of its products begin at.
    """

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    starts: NDArray[np.int32]

    @classmethod
    def of(cls, vectors: Tensor) -> ByteVectors:
        """Of vectors ``[n, d]``."""
        codes, scales = in_bytes(vectors)
        return cls(codes, scales, -ZERO * codes.sum(-1, dtype=np.int32))


def in_bytes(vectors: Tensor) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Codes ``[..., d']`` of vectors ``[..., d]``, zeros behind; scales ``[...]`` that multiply them."""
    vectors = torch.nn.functional.pad(vectors.float(), (0, -vectors.shape[-1] % STEP))
    scales = (vectors.abs().amax(-1) / 127).clamp_min(1e-12)
    codes = (vectors / scales.unsqueeze(-1)).round().to(torch.int8)
    return codes.cpu().numpy(), scales.cpu().numpy()


def in_blocks(codes: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Codes ``[M, N, d]`` as ``[M, N' / BLOCK, d / 4, BLOCK, 4]``; the first node is repeated in front.

    The repetitions change no maximum over nodes, and leave the last nodes last.
    """
    codes = np.pad(codes, ((0, 0), (-codes.shape[1] % BLOCK, 0), (0, 0)), mode="edge")
    count, nodes, width = codes.shape
    shifted = (codes.astype(np.int16) + ZERO).astype(np.uint8)
    blocks = shifted.reshape(count, nodes // BLOCK, BLOCK, width // QUAD, QUAD)
    return np.ascontiguousarray(blocks.swapaxes(2, 3))


@intrinsic
def multiply(typingctx: Any, query: Any, block: Any, size: Any, start: Any, out: Any) -> Any:
    """``multiply(query, block, size, start, out)``: products of a token with a block of nodes.

    Args:
        typingctx: Numba's.
        query: Address of ``size`` bytes with signs.
        block: Address of ``BLOCK * size`` bytes without signs, laid out as `in_blocks` does.
        size: A multiple of `STEP`.
        start: What the sums begin at.
        out: Address of `BLOCK` int32.
    """
    address = types.intp

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        query, block, size, start, out = args
        starts = spread(builder, start, BLOCK)
        sums = block_products(builder, query, block, size, starts, BLOCK, signed=True)
        builder.store(sums, builder.inttoptr(out, sums.type.as_pointer())).align = 4
        return context.get_dummy_value()

    return types.void(address, address, address, types.int32, address), emit
