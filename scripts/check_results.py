"""Checks that a finished run learned something: ``python -m scripts.check_results FOLDER [--least 0.1]``."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

ROWS = ("baseline", "reranked", "final")
TIMES_CHANCE = 5


def main() -> int:
    """Checks one folder; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--least", type=float, default=0.1, help="R@1 of every ranking, text to shape")
    arguments = parser.parse_args()
    faults = list_faults(json.loads((arguments.folder / "results.json").read_text()), arguments.least)
    print("\n".join(faults) if faults else f"{arguments.folder}: results are sound")
    return 1 if faults else 0


def list_faults(results: dict[str, Any], least: float) -> list[str]:
    """What is wrong with a run's results.

    Args:
        results: Content of results.json.
        least: R@1 that every ranking must reach; in any case five times what guessing gives.
    """
    faults = []
    for row in ROWS:
        for name, value in results["metrics"][row].items():
            if not math.isfinite(value) or not 0 <= value <= 1:
                faults.append(f"{row} {name} = {value}: expected a number in [0, 1]")
        needed = max(least, TIMES_CHANCE / results["dataset"]["test"])
        reached = results["metrics"][row]["text_to_shape/recall@1"]
        if not reached >= needed:
            faults.append(f"{row} text_to_shape/recall@1 = {reached:.3f}: expected at least {needed:.3f}")
    if results["agent"]["name"] != "none" and not results["agent"]["episodes"]:
        faults.append("the agent played no episode")
    return faults


if __name__ == "__main__":
    sys.exit(main())
