"""Matrix products in compiled functions, on one thread.

They are small. Threads that wait for each other cost many times what they save, above all where the cores
have something else to do: they would fight with PyTorch's.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from importlib import import_module
from typing import Any

from threadpoolctl import ThreadpoolController


def single_threaded_products() -> AbstractContextManager[Any]:
    """Keep the library behind products in compiled functions on one thread, while entered."""
    library = _library()
    if all(found.num_threads == 1 for found in library.lib_controllers):
        return nullcontext()  # to limit it takes some 10 µs
    return library.limit(limits=1)


@lru_cache(maxsize=1)
def _library() -> ThreadpoolController:
    import_module("scipy.linalg.cython_blas")  # where Numba takes products from: found only if it is loaded
    return ThreadpoolController().select(internal_api="openblas")
