"""Compiled CPU kernels of ERS."""
