"""The choice between plain and compiled code of an ERS index."""

from __future__ import annotations

from typing import Literal, get_args

Backend = Literal["auto", "faiss", "numba"]
Chosen = Literal["faiss", "numba"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)


def choose_backend(backend: Backend) -> Chosen:
    """The backend that an index uses.

    Args:
        backend: ``"faiss"`` takes NumPy and faiss's own kernels, ``"numba"`` compiled code where there is
            any: faiss still scans codes of 8 bits, codes under a filter, and all codes where the processor
            has no table look-ups. ``"auto"`` takes the faster one, which is ``"numba"``.

    Raises:
        ValueError: The backend is none of `BACKENDS`.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend={backend!r}: expected one of {', '.join(BACKENDS)}")
    return "faiss" if backend == "faiss" else "numba"
