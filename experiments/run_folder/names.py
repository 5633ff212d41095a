"""Names in a run folder, for all who write or read one."""

from __future__ import annotations

from pathlib import Path

#: Of results.json; a change that readers would stumble over counts it up.
SCHEMA = 2
#: Schema of those without a checksum, which are read as they are.
PLAIN_SCHEMA = 1
RESULTS, CONFIG, JOURNAL, SEARCH = "results.json", "config.yaml", "metrics.jsonl", "search.png"
#: The page of a run, and what it paints shapes by, see `experiments.evaluation.attention_clouds`.
PAGE, CLOUDS = "results.html", "attention.json"
CHECKPOINTS = "checkpoints"
#: The alignment memory after training, see `models.AlignmentMemory`.
KNOWN_PAIRS = "memory.safetensors"
#: The rankings in results.json: exact search, the same with a memory of known pairs; HAF, HAF with the memory
#: alike for all queries, HAF as the agent calibrates it; and a perfect re-ranking of the same candidates.
BASELINE, MEMORY, RERANKED, FIXED, FINAL = "baseline", "memory", "reranked", "fixed", "final"
CEILING = "ceiling"
#: Settings that may differ between a run and its resumption.
FREE = ("resume", "accept_changes", "device", "cache", "loggers")
FREE_TRAIN = ("checkpoint_every", "checkpoint_minutes", "reuse")


def is_begun(folder: Path) -> bool:
    """Whether a run has left anything there to go on from; its settings alone are nothing."""
    return any((folder / name).exists() for name in (JOURNAL, CHECKPOINTS, RESULTS))
