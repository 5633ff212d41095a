"""How the search's compiled functions are compiled, and how a problem's step becomes one of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.extending import intrinsic as untyped_intrinsic
from numba.np.arrayobj import make_array, populate_array
from numpy.typing import DTypeLike, NDArray

import compiling

Array = NDArray[Any]

Pointer = Any
"""Numbers in a row in memory, read by position: much less to compile than an array with its layout."""

OPTIONS: dict[str, Any] = {"error_model": "numpy", "_nrt": False}
"""Without `_nrt`: counting who uses an array is for those that allocate, and would cost as much as a walk."""

inner = compiling.device_njit(**OPTIONS)
"""For functions that only compiled ones call. Each layer of them is optimised anew with what calls it."""

written_out = compiling.device_njit(**OPTIONS, inline="always")
"""For an inner function with inner ones of its own, called in one place: as if it stood there, no layer."""

entry = compiling.cached_njit(**OPTIONS, no_cfunc_wrapper=True)
"""For functions that Python calls."""

intrinsic: Any = untyped_intrinsic
"""Decorator of what a compiled function calls, and what it is in machine code is said by us."""


@intrinsic
def pointers(typing: Any, places: Any, first: Any, like: Any) -> Any:
    """The addresses in an array i64 from position `first` on, as pointers to numbers like `like`."""
    result = numba.types.CPointer(numba.types.CPointer(like.dtype))

    def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = make_array(places)(context, builder, arguments[0]).data
        return builder.bitcast(builder.gep(data, [arguments[1]]), context.get_value_type(result))

    return result(places, first, like), make


@intrinsic
def onwards(typing: Any, pointer: Any, by: Any) -> Any:
    """The pointer `by` numbers further on."""

    def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.gep(arguments[0], [arguments[1]])

    return pointer(pointer, by), make


@intrinsic
def call_step(
    typing: Any,
    address: Any,
    parameters: Any,
    count: Any,
    state: Any,
    action: Any,
    needed: Any,
    after: Any,
    reward: Any,
    terminal: Any,
    mask: Any,
    value: Any,
    prior: Any,
    first: Any,
    rows: Any,
    width: Any,
    actions: Any,
) -> Any:
    """Call the step at an address with the arrays that a `CompiledStep` takes, from row `first` on.

    Numba's own ways, slices of arrays and functions as values, take longer to compile.
    """
    number, flag = value.dtype, numba.types.bool_
    dtypes = (number, state.dtype, action.dtype, flag, state.dtype, number, flag, flag, number, number)

    def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        count, first, rows, width, actions = (arguments[i] for i in (2, 12, 13, 14, 15))
        line, states, table = (rows,), (rows, width), (rows, actions)
        shapes = ((count,), states, line, line, states, line, line, table, line, table)
        starts = [arguments[i] for i in (1, 3, 4, 5, 6, 7, 8, 9, 10, 11)]
        arrays, types = [], []
        for data, dtype, shape in zip(starts, dtypes, shapes, strict=True):
            kind = numba.types.Array(dtype, len(shape), "C")
            bytes_each = context.get_abi_sizeof(context.get_data_type(dtype))
            itemsize = context.get_constant(numba.types.intp, bytes_each)
            strides = [builder.mul(length, itemsize) for length in shape[1:]] + [itemsize]
            if data is not arguments[1]:
                before = first if len(shape) == 1 else builder.mul(first, shape[1])
                data = builder.gep(data, [before])
            array = make_array(kind)(context, builder)
            populate_array(array, data, shape, strides, itemsize, meminfo=None)
            arrays.append(array._getvalue())
            types.append(context.get_value_type(kind))
        nothing = context.get_value_type(numba.types.none)
        function = ir.FunctionType(nothing, types).as_pointer()
        builder.call(builder.inttoptr(arguments[0], function), arrays)
        return context.get_dummy_value()

    given = (address, parameters, count, state, action, needed, after, reward, terminal, mask, value, prior)
    return numba.types.none(*given, first, rows, width, actions), make


class CompiledStep:
    """The step of a `CompiledProblem`: a C function, compiled when it is first asked for.

    As such it is called from compiled functions, which are then the same for all problems.

    Attributes:
        dtypes: Of the states and of the values that it takes.
    """

    def __init__(self, function: Callable[..., None], state: DTypeLike, value: DTypeLike) -> None:
        self.function = function
        self.dtypes = np.dtype(state), np.dtype(value)
        place, number = map(numba.from_dtype, self.dtypes)
        line, table, flags = number[::1], number[:, ::1], numba.types.bool_
        states, actions = place[:, ::1], numba.types.int64[::1]
        ends = (states, line, flags[::1], flags[:, ::1], line, table)
        self.signature = numba.types.void(line, states, actions, flags[::1], *ends)
        self._numba_type_ = numba.types.FunctionType(self.signature)

    @cached_property
    def compiled(self) -> Any:
        """The function in machine code, which is kept on disk where that can be."""

        def compile_() -> Any:
            try:
                return numba.cfunc(self.signature, cache=True, error_model="numpy")(self.function)
            except RuntimeError:  # no folder that may be written to
                return numba.cfunc(self.signature, error_model="numpy")(self.function)

        return compiling.uninterrupted(compile_)()

    @property
    def address(self) -> int:
        """Where it is."""
        return int(self.compiled.address)

    def __wrapper_address__(self) -> int:
        """As Numba asks for it, where the step is passed to a compiled function."""
        return self.address


def compiled_step(
    state: DTypeLike = np.float32, value: DTypeLike = np.float32
) -> Callable[[Callable[..., None]], CompiledStep]:
    """Decorator that makes a plain function the step of a `CompiledProblem`.

    Args:
        state: Dtype of the states.
        value: Dtype of the tree's values.
    """
    return lambda function: CompiledStep(function, state, value)
