"""Compilation of functions for the CPU, for all packages: where Numba alone would be wrong or slow."""

from compiling.cache import cached_njit, device_njit, inlined, uninterrupted
from compiling.products import single_threaded_products

__all__ = ["cached_njit", "device_njit", "inlined", "single_threaded_products", "uninterrupted"]
