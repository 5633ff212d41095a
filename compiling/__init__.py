"""How functions are compiled for the CPU, for all packages: where Numba alone would be wrong or slow."""

from compiling.cache import inner, kept
from compiling.products import single_threaded_products

__all__ = ["inner", "kept", "single_threaded_products"]
