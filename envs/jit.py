"""How what is compiled for the CPU is compiled. Imports nothing of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from numpy.typing import NDArray

Array = NDArray[Any]

ENTRY: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "no_cfunc_wrapper": True,  # takes time to compile, and nobody calls it
    "fastmath": {"reassoc", "contract", "nsz", "arcp"},
}
INNER = ENTRY | {"no_cpython_wrapper": True}


def inner(function: Callable[..., Any]) -> Any:
    """For functions that only compiled ones call."""
    return numba.njit(**INNER)(function)


def entry(function: Callable[..., Any]) -> Any:
    """Compile at the first call, and keep the machine code on disk for the next process where that can be."""
    try:
        return numba.njit(cache=True, **ENTRY)(function)
    except RuntimeError:  # no folder that may be written to
        return numba.njit(**ENTRY)(function)


def once(function: Callable[..., Any]) -> Any:
    """For functions with one caller, in one place: to compile them as a part of it takes less time."""
    return numba.njit(inline="always", **INNER)(function)
