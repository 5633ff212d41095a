"""Machine code that is kept on disk, and made anew when any part of a compiled function has changed.

Numba keeps machine code for the next process and forgets it when the file of the function changes. But a
function is made of all that it calls, and that is in other files: without more, the code of a release before
would go on running after an update. Here all files of its whole package that hold compiled
functions count, and this package's own.
"""

from __future__ import annotations

import gc
import hashlib
import os
from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any

import numba

from compiling.kept_kernels import KernelCache
from compiling.parts import PartCompiler

Decorator = Callable[[Callable[..., Any]], Any]

BOUNDS_CHECK = os.environ.get("ALIGN3D_BOUNDS_CHECK", "0") not in ("", "0")
"""Debug switch: every index is checked, or an ``IndexError`` raised; nothing of it is kept on disk."""

HINTS = (b"compiling", b"jit")
"""A file with compiled functions has one of these in it: it imports this package, ``njit`` or ``jit.py``."""


def cached_njit(**options: Any) -> Decorator:
    """Decorate a function to be compiled at the first call, and to be kept where a folder may be written to.

    Args:
        options: Options of ``numba.njit``. The interpreter's lock is released unless they say otherwise.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        decorator: Any = numba.njit(**{"nogil": True, "boundscheck": BOUNDS_CHECK} | options)
        compiled = decorator(function)
        compiled.compile = uninterrupted(compiled.compile)
        if BOUNDS_CHECK:
            return compiled
        try:
            kept = KernelCache(function, fingerprint(Path(function.__code__.co_filename).parent))
        except (RuntimeError, AttributeError):  # no folder that may be written to, or another Numba
            return compiled
        compiled._cache = kept  # Numba has no public way to say where
        return compiled

    return decorate


def device_njit(**options: Any) -> Decorator:
    """Decorate what only compiled functions call: it has no way in from Python, and is compiled with each."""
    unreachable = {"nogil": True, "no_cfunc_wrapper": True, "no_cpython_wrapper": True}
    checked = {"boundscheck": BOUNDS_CHECK}
    decorator: Decorator = numba.njit(**unreachable | checked | options, pipeline_class=PartCompiler)
    return decorator


def inlined(**options: Any) -> Decorator:
    """Decorate what only compiled functions call, to be a part of their machine code wherever they do.

    For sums that may be regrouped (``fastmath``). A call would reach another copy of the function in a
    process that compiled it, where it stands by itself, than in one that found its caller on disk; and each
    copy groups a sum in its own way, so that two processes would not compute the same.
    """
    return device_njit(**options, forceinline=True)


def uninterrupted(compile_: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function so that garbage is not collected while it runs.

    To compile makes millions of objects. Collections look through all of them and through PyTorch's again and
    again, for up to a fifth of the time.
    """

    @wraps(compile_)
    def run(*arguments: Any, **options: Any) -> Any:
        collecting = gc.isenabled()
        gc.disable()
        try:
            return compile_(*arguments, **options)
        finally:
            if collecting:
                gc.enable()

    return run


@lru_cache
def fingerprint(folder: Path) -> str:
    """Hash all files with compiled functions in the package that a folder is of, and in this one."""
    while (folder.parent / "__init__.py").exists():
        folder = folder.parent
    folders = (folder, Path(__file__).parent)
    contents = [file.read_bytes() for folder in folders for file in sorted(folder.rglob("*.py"))]
    kernels = [content for content in contents if any(hint in content for hint in HINTS)]
    return hashlib.sha256(b"\0".join(kernels)).hexdigest()
