"""No kernel of the search reads or writes beyond an array."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[4]


def test_the_kernels_stay_within_their_arrays():
    """The same trees are grown where every index is checked."""
    tests = Path(__file__).with_name("test_search_kernels.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-k", "both_walks or tensor_classes", str(tests)],
        env=os.environ | {"ALIGN3D_BOUNDS_CHECK": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
