"""How the search's compiled functions are compiled, and how a problem's step becomes one of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numba
import numpy as np
from numpy.typing import DTypeLike, NDArray

import compiling

Array = NDArray[Any]

OPTIONS: dict[str, Any] = {"error_model": "numpy", "_nrt": False}
"""Without `_nrt`: counting who uses an array is for those that allocate, and would cost as much as a walk."""

inner = compiling.inner(**OPTIONS)
"""For functions that only compiled ones call."""

inlined = compiling.inner(**OPTIONS, forceinline=True)
"""For inner functions that are given so much that to hand it over would take longer than what they do."""

entry = compiling.kept(**OPTIONS, no_cfunc_wrapper=True)
"""For functions that Python calls."""


class CompiledStep:
    """The step of a `CompiledProblem`: a C function, compiled when it is first asked for.

    As such it is passed to compiled functions, which are then the same for all problems.

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
        try:
            return numba.cfunc(self.signature, cache=True, error_model="numpy")(self.function)
        except RuntimeError:  # no folder that may be written to
            return numba.cfunc(self.signature, error_model="numpy")(self.function)

    def __wrapper_address__(self) -> int:
        """Where it is: how Numba asks for it."""
        return int(self.compiled.address)


def compiled_step(
    state: DTypeLike = np.float32, value: DTypeLike = np.float32
) -> Callable[[Callable[..., None]], CompiledStep]:
    """Decorator that makes a plain function the step of a `CompiledProblem`.

    Args:
        state: Dtype of the states.
        value: Dtype of the tree's values.
    """
    return lambda function: CompiledStep(function, state, value)
