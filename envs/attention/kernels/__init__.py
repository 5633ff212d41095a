"""Compiled CPU kernels of the incremental update."""
