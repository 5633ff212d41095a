"""How the search's compiled functions are compiled, and how a problem's step becomes one of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]

# What makes a function callable from Python or C takes time to compile, so it is left out where nobody calls.
# `_nrt` counts who uses an array, which would cost as much as the walk, and is there for those that allocate.
ENTRY: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True, "_nrt": False}
INNER: dict[str, Any] = ENTRY | {"no_cpython_wrapper": True}


def inner(function: Callable[..., Any]) -> Any:
    """For functions that only compiled ones call."""
    return numba.njit(**INNER)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """For inner functions that are given so much that to hand it over would take longer than what they do."""
    return numba.njit(**INNER, forceinline=True)(function)


def entry(function: Callable[..., Any]) -> Any:
    """Compile at the first call, and keep the machine code on disk for the next process where that can be."""
    try:
        compiled = numba.njit(cache=True, **ENTRY)(function)
    except RuntimeError:  # no folder that may be written to
        return numba.njit(**ENTRY)(function)
    # Numba compiles again when a function's own file has changed, but parts of it are in others.
    kept = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
    if kept is not None:
        kept._source_stamp = sources()
    return compiled


@lru_cache(maxsize=1)
def sources() -> str:
    """A fingerprint of all files that compiled functions are written in."""
    here = Path(__file__)
    files = [here, *sorted(here.parent.glob("kernels*.py"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


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
