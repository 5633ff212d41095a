"""Compilation options of the search's kernels."""

from __future__ import annotations

from typing import Any

import compiling

OPTIONS: dict[str, Any] = {"error_model": "numpy", "_nrt": False}
"""Without ``_nrt``: kernels borrow all arrays, and counting references would cost as much as a walk."""

device = compiling.inlined(**OPTIONS)
"""Decorator for functions that only kernels call; calls would hand over each of a tree's arrays."""

entry = compiling.cached_njit(**OPTIONS, no_cfunc_wrapper=True)
"""Decorator for functions that Python calls."""
