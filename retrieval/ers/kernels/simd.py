"""Processor instructions that neither NumPy nor Numba offers, as functions for compiled code.

`scan_block` sums 4-bit product codes of 32 vectors with table look-ups in a register ("fast scan", André,
Kermarrec, Le Scouarnec, VLDB 2015), `rank_nodes` multiplies vectors of 8-bit numbers, `from_half` reads
half precision. They are made as `compiling.instructions` says; where its `LANES` is 0 there are no look-ups.

faiss lays codes out for this (``pq4_pack_codes``): blocks of 32 vectors; in a block 16 bytes for each
sub-quantizer, the low halves of byte ``j`` being vector ``PERMUTED[j]``'s code, the high halves vector
``PERMUTED[j] + 16``'s, with ``PERMUTED = 0, 8, 1, 9, … 7, 15``; sub-quantizers come in pairs.

**Sums in 8 bits.** Tables hold 5 bits (0 to 31) and eight of them are added in 8 bits before they are widened
to 16, where faiss keeps 8 bits and widens each: half the instructions. The rounding this adds is a tenth of
the codes' own error.
"""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from compiling.instructions import (
    BYTE,
    INT,
    LANES,
    SHORT,
    block_products,
    intrinsic,
    load,
    shuffle,
    splat,
    spread,
    vector,
)

TABLE_MAX = 31
"""Largest entry of a look-up table: eight of them fit in a byte."""
_GROUP = 8
BLOCK = 32
NODES = 8
"""Vectors that `rank_nodes` multiplies a query with."""
_LOOKUP = {
    64: "llvm.x86.avx512.pshuf.b.512",
    32: "llvm.x86.avx2.pshuf.b",
    16: "llvm.x86.ssse3.pshuf.b.128",
}
_LOOKUP_ARM = "llvm.aarch64.neon.tbl1.v16i8"


class _Sums:
    """Running sums of one block: 8 bits for the group in hand, 16 for all before."""

    def __init__(self, builder: Any, lanes: int) -> None:
        self.builder, self.lanes = builder, lanes
        wide = vector(SHORT, lanes // 2)
        self.wide = [cgutils.alloca_once(builder, wide) for _ in range(4)]
        for slot in self.wide:
            builder.store(splat(SHORT, lanes // 2, 0), slot)
        name = _LOOKUP[lanes] if platform.machine().lower() in ("x86_64", "amd64") else _LOOKUP_ARM
        kind = vector(BYTE, lanes)
        self.lookup = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(kind, [kind, kind]), name
        )

    def looked_up(self, codes: Any, table: Any) -> tuple[Any, Any]:
        """Entries for the low and for the high halves of the bytes."""
        builder = self.builder
        low = builder.and_(codes, splat(BYTE, self.lanes, 15))
        high = builder.lshr(codes, splat(BYTE, self.lanes, 4))
        return builder.call(self.lookup, [table, low]), builder.call(self.lookup, [table, high])

    def widen(self, low: Any, high: Any) -> None:
        """Adds 8-bit sums to the 16-bit ones: even bytes and odd bytes apart."""
        builder, half = self.builder, self.lanes // 2
        for part, value in enumerate((low, high)):
            pairs = builder.bitcast(value, vector(SHORT, half))
            even = builder.and_(pairs, splat(SHORT, half, 255))
            odd = builder.lshr(pairs, splat(SHORT, half, 8))
            for slot, term in ((self.wide[2 * part], even), (self.wide[2 * part + 1], odd)):
                builder.store(builder.add(builder.load(slot), term), slot)

    def total(self) -> Any:
        """The sums ``<32 x i16>`` in the order of the vectors."""
        parts = []
        for slot in self.wide:
            value, count = self.builder.load(slot), self.lanes // 2
            while count > 8:  # each 16 bytes are another sub-quantizer
                count //= 2
                low = shuffle(self.builder, value, list(range(count)))
                high = shuffle(self.builder, value, list(range(count, 2 * count)))
                value = self.builder.add(low, high)
            parts.append(value)
        halves = [
            shuffle(self.builder, parts[0], list(range(16)), parts[1]),
            shuffle(self.builder, parts[2], list(range(16)), parts[3]),
        ]
        return shuffle(self.builder, halves[0], list(range(32)), halves[1])


@intrinsic
def scan_block(typingctx: Any, codes: Any, tables: Any, size: Any, least: Any, out: Any) -> Any:
    """``scan_block(codes, tables, size, least, out) -> mask``: 32 vectors' sums of table entries.

    Args:
        typingctx: Numba's.
        codes: Address of the block.
        tables: Address of 16 bytes a sub-quantizer, 0 to `TABLE_MAX`.
        size: Bytes of the block, 16 times the sub-quantizers, which are even in number.
        least: 0 to 65535.
        out: Address of 32 uint16 for the sums.

    Returns:
        uint32; bit ``i`` is set where vector ``i``'s sum is ``least`` or more.
    """
    address = types.intp
    signature = types.uint32(address, address, address, types.uint16, address)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        codes, tables, size, least, out = args
        word = size.type
        sums = _Sums(builder, LANES)
        group_bytes = _GROUP * LANES

        def number(value: int) -> Any:
            return ir.Constant(word, value)

        groups = builder.udiv(size, number(group_bytes))
        with cgutils.for_range(builder, groups) as loop:
            at = builder.mul(loop.index, number(group_bytes))
            low: Any = None
            high: Any = None
            for step in range(_GROUP):
                here = builder.add(at, number(step * LANES))
                chunk = load(builder, builder.add(codes, here), vector(BYTE, LANES))
                table = load(builder, builder.add(tables, here), vector(BYTE, LANES))
                first, second = sums.looked_up(chunk, table)
                low = builder.add(low, first) if step else first
                high = builder.add(high, second) if step else second
            sums.widen(low, high)
        done = builder.mul(groups, number(group_bytes))
        rest = builder.udiv(builder.sub(size, done), number(LANES))
        with cgutils.for_range(builder, rest) as loop:
            here = builder.add(done, builder.mul(loop.index, number(LANES)))
            chunk = load(builder, builder.add(codes, here), vector(BYTE, LANES))
            table = load(builder, builder.add(tables, here), vector(BYTE, LANES))
            sums.widen(*sums.looked_up(chunk, table))
        if LANES == 64:  # a last pair of sub-quantizers
            done = builder.add(done, builder.mul(rest, number(LANES)))
            with builder.if_then(builder.icmp_unsigned("<", done, size)):
                pads = list(range(32)) + [32] * 32
                zeros = splat(BYTE, 32, 0)
                pair = vector(BYTE, 32)
                chunk = shuffle(builder, load(builder, builder.add(codes, done), pair), pads, zeros)
                table = shuffle(builder, load(builder, builder.add(tables, done), pair), pads, zeros)
                sums.widen(*sums.looked_up(chunk, table))
        total = sums.total()
        target = builder.inttoptr(out, vector(SHORT, BLOCK).as_pointer())
        builder.store(total, target).align = 2
        return builder.bitcast(builder.icmp_unsigned(">=", total, spread(builder, least, BLOCK)), INT)

    return signature, emit


@intrinsic
def rank_nodes(
    typingctx: Any,
    query: Any,
    block: Any,
    size: Any,
    start: Any,
    unit: Any,
    prior: Any,
    out: Any,
) -> Any:
    """``rank_nodes(query, block, size, start, unit, prior, out)``: products of a query with `NODES` vectors.

    Args:
        typingctx: Numba's.
        query: Address of ``size`` bytes without signs.
        block: Address of the vectors' bytes, with signs: four of each vector, then the next four of each.
        size: Bytes of the query and of each vector, a multiple of `STEP`.
        start: Address of `NODES` int32 which are added to the products.
        unit: By which those sums are multiplied.
        prior: Address of `NODES` float32 which are added to that.
        out: Address of `NODES` float32 for the result.
    """
    address = types.intp

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        query, block, size, start, unit, prior, out = args
        floats = vector(ir.FloatType(), NODES)
        starts = load(builder, start, vector(INT, NODES))
        result = block_products(builder, query, block, size, starts, NODES, signed=False)
        scaled = builder.fmul(builder.sitofp(result, floats), spread(builder, unit, NODES))
        ranks = builder.fadd(scaled, load(builder, prior, floats))
        builder.store(ranks, builder.inttoptr(out, floats.as_pointer())).align = 4
        return context.get_dummy_value()

    return types.void(address, address, address, address, types.float32, address, address), emit


@intrinsic
def at_least(typingctx: Any, values: Any, least: Any) -> Any:
    """``at_least(values, least) -> mask``: which of `BLOCK` float32 at an address are that or more."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        address, least = args
        values = load(builder, address, vector(ir.FloatType(), BLOCK))
        return builder.bitcast(builder.fcmp_ordered(">=", values, spread(builder, least, BLOCK)), INT)

    return types.uint32(types.intp, types.float32), emit


@intrinsic
def ones(typingctx: Any, mask: Any) -> Any:
    """``ones(mask) -> int``: how many bits are set."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.zext(builder.ctpop(args[0]), context.get_value_type(types.intp))

    return types.intp(types.uint32), emit


@intrinsic
def from_half(typingctx: Any, bits: Any) -> Any:
    """``from_half(bits) -> float32``: a half-precision number from its 16 bits."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.fpext(builder.bitcast(args[0], ir.HalfType()), ir.FloatType())

    return types.float32(types.uint16), emit


@intrinsic
def bits_of(typingctx: Any, value: Any) -> Any:
    """``bits_of(value) -> int32``: the bits of a single-precision number."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.bitcast(args[0], INT)

    return types.int32(types.float32), emit


@intrinsic
def float_of(typingctx: Any, bits: Any) -> Any:
    """``float_of(bits) -> float32``: the reverse of `bits_of`."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), emit


@intrinsic
def load_long(typingctx: Any, address: Any) -> Any:
    """``load_long(address) -> int64``: the whole number there."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load(builder.inttoptr(args[0], ir.IntType(64).as_pointer()))

    return types.int64(types.intp), emit


@intrinsic
def trailing_zeros(typingctx: Any, mask: Any) -> Any:
    """``trailing_zeros(mask) -> int``: place of the lowest bit that is set; the mask is not 0."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.zext(builder.cttz(args[0], ir.IntType(1)(1)), context.get_value_type(types.intp))

    return types.intp(types.uint32), emit
