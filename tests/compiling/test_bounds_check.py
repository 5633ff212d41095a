"""The debug switch that has compiled functions check every index."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import numpy as np
from compiling import cached_njit, device_njit

@device_njit()
def third(values):
    return values[2]

@cached_njit()
def entry(values, write):
    if write:
        values[2] = 1.0
    return third(values)

try:
    entry(np.zeros(3)[:2], {write})
except IndexError as error:
    print("IndexError:", error)
"""


@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize(("switch", "words"), [("1", "IndexError: index is out of bounds"), ("0", "")])
def test_an_index_beyond_an_array_is_found_under_the_switch(tmp_path, write, switch, words):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(write=write))
    variables = {"PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(tmp_path), "ALIGN3D_BOUNDS_CHECK": switch}
    run = [sys.executable, str(program)]
    done = subprocess.run(run, env=os.environ | variables, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == words
    assert bool(list(tmp_path.rglob("*.kernel"))) is (switch == "0")
