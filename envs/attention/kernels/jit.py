"""Decorators of the compiled functions of the environment."""

from __future__ import annotations

from typing import Any

import compiling

OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz", "arcp"}}

inner = compiling.inlined(**OPTIONS)
"""For functions that only compiled ones call."""

once = compiling.device_njit(**OPTIONS, inline="always")
"""For functions with one caller, in one place: to compile them as a part of it takes less time."""

entry = compiling.cached_njit(**OPTIONS, no_cfunc_wrapper=True)
"""For functions that Python calls."""
