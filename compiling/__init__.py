"""How functions are compiled for the CPU, for all packages: where Numba alone would be wrong or slow."""

from compiling.cache import inlined, inner, kept, uninterrupted
from compiling.products import product, single_threaded_products

__all__ = ["inlined", "inner", "kept", "product", "single_threaded_products", "uninterrupted"]
