"""Compiled CPU kernels of the tree search."""
