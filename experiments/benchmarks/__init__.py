"""Speed against peers, measured side by side in one process; `python -m experiments.benchmark` lists them."""

from experiments.benchmarks.base import BENCHMARKS, Row, benchmark, interleaved, median

__all__ = ["BENCHMARKS", "Row", "benchmark", "interleaved", "median"]
