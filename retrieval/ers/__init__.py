"""ERS, the hierarchical index."""
