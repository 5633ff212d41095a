"""Building blocks of functions that emit LLVM code: vectors, products of bytes, prefetching.

Numba offers no vector instructions. A function made with ``numba.extending.intrinsic`` may emit them as LLVM
code, in the width that the processor has, and needs no compiler to be installed.
"""

from __future__ import annotations

import platform
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import extending
from numba.core import cgutils, types

from compiling.cache import cached_njit

intrinsic: Any = extending.intrinsic  # called without the typing context that its definition takes

LINE = 64
"""Bytes that memory hands out at once."""
QUAD = 4
"""Bytes of a vector that one instruction multiplies and adds up."""
STEP = 16
"""Of which the lengths of vectors of bytes are a multiple."""
BYTE, SHORT, INT = ir.IntType(8), ir.IntType(16), ir.IntType(32)


def _lanes() -> int:
    """Find how many bytes a look-up instruction of this processor takes."""
    machine = platform.machine().lower()
    if machine in ("x86_64", "amd64"):
        features = llvm.get_host_cpu_features()
        if features.get("avx512bw") and features.get("avx512vl"):
            return 64
        if features.get("avx2"):
            return 32
        return 16 if features.get("ssse3") else 0
    return 16 if machine in ("arm64", "aarch64") else 0


LANES = _lanes()
"""Bytes of a vector of this processor: 64, 32 or 16 on x86, 16 on ARM, 0 where none of it is known."""
_HAS_DOT_BYTES = LANES == 64 and bool(llvm.get_host_cpu_features().get("avx512vnni"))
_DOT_BYTES = {8: "llvm.x86.avx512.vpdpbusd.256", 16: "llvm.x86.avx512.vpdpbusd.512"}


def vector(element: ir.Type, count: int) -> ir.Type:
    """Give the type of a vector of ``count`` elements."""
    return ir.VectorType(element, count)


def splat(element: ir.Type, count: int, value: int) -> ir.Constant:
    """Give a constant vector of which every element is the value."""
    return ir.Constant(vector(element, count), [value] * count)


def shuffle(builder: Any, value: Any, places: list[int], other: Any = None) -> Any:
    """Give elements of one vector, or of two, in the order of their places."""
    mask = ir.Constant(vector(INT, len(places)), places)
    return builder.shuffle_vector(value, value if other is None else other, mask)


def spread(builder: Any, value: Any, count: int) -> Any:
    """Give a vector of which every element is the value."""
    first = builder.insert_element(ir.Constant(vector(value.type, count), ir.Undefined), value, INT(0))
    return shuffle(builder, first, [0] * count)


def load(builder: Any, address: Any, kind: ir.Type) -> Any:
    """Load what is at an address, which need not be aligned."""
    value = builder.load(builder.inttoptr(address, kind.as_pointer()))
    value.align = 1
    return value


def dot_bytes(builder: Any, total: Any, factors: Any, numbers: Any, count: int) -> Any:
    """Add to each of ``count`` sums, 8 or 16, four products of a byte without a sign and one with a sign.

    Args:
        builder: Numba's builder of LLVM code.
        total: Sums so far, ``<count x i32>``.
        factors: First factors, ``<4 count x i8>``, without signs.
        numbers: Second factors, ``<4 count x i8>``, with signs.
        count: Number of sums.
    """
    if _HAS_DOT_BYTES:
        sums = vector(INT, count)
        kind = ir.FunctionType(sums, [sums, sums, sums])
        dot = cgutils.get_or_insert_function(builder.module, kind, _DOT_BYTES[count])
        return builder.call(dot, [total, builder.bitcast(factors, sums), builder.bitcast(numbers, sums)])
    left = 4 * count
    wide = vector(INT, left)
    terms = builder.mul(builder.zext(factors, wide), builder.sext(numbers, wide))
    while left > count:
        even = shuffle(builder, terms, list(range(0, left, 2)))
        terms = builder.add(even, shuffle(builder, terms, list(range(1, left, 2))))
        left //= 2
    return builder.add(total, terms)


def block_products(
    builder: Any, asked: Any, block: Any, size: Any, start: Any, count: int, *, signed: bool
) -> Any:
    """Add to ``start`` the products of a vector of bytes with ``count`` others: ``<count x i32>``.

    Args:
        builder: Numba's builder of LLVM code.
        asked: Address of ``size`` bytes.
        block: Address of the others: four bytes of each, then the next four of each.
        size: Bytes of each vector, a multiple of ``STEP``.
        start: Sums to begin with, ``<count x i32>``.
        count: Number of other vectors, 8 or 16.
        signed: Whether ``asked`` has signs and the block none, or the other way round.
    """
    bytes_ = vector(BYTE, QUAD * count)
    chains = STEP // QUAD  # sums of their own: each would wait for the one before
    totals = [cgutils.alloca_once_value(builder, splat(INT, count, 0)) for _ in range(chains)]
    builder.store(start, totals[0])
    step = ir.Constant(size.type, STEP)
    with cgutils.for_range(builder, builder.udiv(size, step)) as loop:
        at = builder.mul(loop.index, step)
        for chain, total in enumerate(totals):
            here = builder.add(at, ir.Constant(size.type, QUAD * chain))
            four = spread(builder, load(builder, builder.add(asked, here), INT), count)
            others = builder.add(block, builder.mul(here, ir.Constant(size.type, count)))
            factors, numbers = builder.bitcast(four, bytes_), load(builder, others, bytes_)
            if signed:
                factors, numbers = numbers, factors
            builder.store(dot_bytes(builder, builder.load(total), factors, numbers, count), total)
    result = builder.load(totals[0])
    for total in totals[1:]:
        result = builder.add(result, builder.load(total))
    return result


@intrinsic
def prefetch(typingctx: Any, address: Any) -> Any:
    """``prefetch(address)``: brings a line of memory nearer; the address need not be valid."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], BYTE.as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [BYTE.as_pointer(), INT, INT, INT])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [pointer, INT(0), INT(3), INT(1)])
        return context.get_dummy_value()

    return types.void(types.intp), emit


@cached_njit()
def prefetch_lines(address: int, size: int) -> None:
    """Bring ``size`` bytes of memory nearer."""
    for at in range(0, size, LINE):
        prefetch(address + at)
