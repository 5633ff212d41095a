"""Check that so many vectors fit into memory, made before the first of them."""

from __future__ import annotations

import os

from align3d.errors import UserError

FLOAT32, FLOAT64 = 4, 8
COPIES = 2
"""Of the vectors, at least: themselves, and those that exact search holds; each engine adds its own."""


def check_memory(size: int, width: int, *, mixture: bool = False) -> None:
    """Refuses what this machine cannot hold.

    Args:
        size: Vectors, ``N``.
        width: Of each, ``D``.
        mixture: Whether they are made of a mixture, which turns its centroids by a matrix ``[D, D]`` and
            holds its factors beside it.

    Raises:
        UserError: The least that is needed is more than the machine has.
    """
    needed = COPIES * FLOAT32 * size * width + (COPIES * FLOAT64 * width**2 if mixture else 0)
    there = machine_bytes()
    if there is not None and needed > there:
        raise UserError(
            f"size={size}: {_gigabytes(needed)} GB for vectors of width {width}, and this machine has "
            f"{_gigabytes(there)} GB of memory; ask for fewer{' or narrower ones' if mixture else ''}"
        )


def machine_bytes() -> int | None:
    """The machine's memory; None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:,.1f}"
