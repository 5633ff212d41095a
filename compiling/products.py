"""Matrix products in compiled functions: quick to compile, and on one thread.

They are small. Threads that wait for each other cost many times what they save, above all where the cores
have something else to do: they would fight with PyTorch's.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from importlib import import_module
from typing import Any

import numba
from numba.extending import intrinsic
from numba.np.arrayobj import make_array
from numba.np.linalg import call_xxgemm, ensure_blas
from threadpoolctl import ThreadpoolController


def _product(typing: Any, left: Any, numbers: Any, start: Any, out: Any) -> Any:
    """In compiled functions: write `left` `[m, k]` times a matrix `[k, n]` to `out` `[m, n]`.

    The matrix is in a line of `numbers`, row by row from position `start` on. All are contiguous, and of one
    dtype, f32 or f64. Shapes are not checked. `np.dot` of slices, reshaped, does the same and takes twice as
    long to compile.
    """
    ensure_blas()
    tables = numba.types.Array(left.dtype, 2, "C")
    if left != tables or out != tables or numbers != tables.copy(ndim=1):
        raise TypeError(f"product: {left}, {numbers} and {out}; expected contiguous arrays of one dtype")

    def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        given = make_array(left)(context, builder, arguments[0])
        line = make_array(numbers)(context, builder, arguments[1])
        found = make_array(out)(context, builder, arguments[3])
        rows, inner = (builder.extract_value(given.shape, i) for i in (0, 1))
        columns = builder.extract_value(found.shape, 1)
        matrix = builder.gep(line.data, [arguments[2]])
        call_xxgemm(
            *(context, builder),
            *(tables, (rows, inner), given.data),
            *(tables, (inner, columns), matrix),
            *(tables, (rows, columns), found.data),
        )
        return context.get_dummy_value()

    return numba.types.none(left, numbers, start, out), make


product: Any = intrinsic(_product)


def single_threaded_products() -> AbstractContextManager[Any]:
    """Within it the library behind products in compiled functions starts no threads of its own."""
    library = _library()
    if all(found.num_threads == 1 for found in library.lib_controllers):
        return nullcontext()  # to limit it takes some 10 µs
    return library.limit(limits=1)


@lru_cache(maxsize=1)
def _library() -> ThreadpoolController:
    import_module("scipy.linalg.cython_blas")  # where Numba takes products from: found only if it is loaded
    return ThreadpoolController().select(internal_api="openblas")
