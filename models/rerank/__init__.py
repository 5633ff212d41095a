"""Re-rankers made from a trained HAF, and their kernels."""
