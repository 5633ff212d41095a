"""A search starts quickly: it imports what it takes, and nothing else."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
OTHERS = (
    *("torchrl", "tensordict", "gymnasium", "stable_baselines3", "matplotlib", "sentence_transformers"),
    *("hydra", "faiss", "rich", "scipy.linalg", "scipy.special"),
)


def test_only_what_a_search_takes_is_imported():
    run = f"import sys, agents.search; print(*[name for name in {OTHERS} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", run], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
