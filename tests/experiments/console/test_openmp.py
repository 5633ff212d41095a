"""Time that OpenMP's threads spin while they wait."""

import os
import re
import subprocess
import sys

import pytest

SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


@pytest.mark.parametrize(
    ("own", "expected"), [({}, 1_000), ({"OMP_WAIT_POLICY": "PASSIVE"}, 0), ({"GOMP_SPINCOUNT": "77"}, 77)]
)
def test_threads_spin_shortly_unless_the_user_says_otherwise(own: dict[str, str], expected: int) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    environment |= {"OMP_DISPLAY_ENV": "verbose"} | own
    command = [sys.executable, "-c", "import experiments, torch; torch.ones(9)"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert {int(count) for count in re.findall(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr)} == {expected}
