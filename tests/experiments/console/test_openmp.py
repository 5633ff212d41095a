"""How OpenMP's threads wait."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(("own", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_wait_passively_unless_the_user_says_otherwise(own: str | None, expected: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_DISPLAY_ENV": "true"} | ({} if own is None else {"OMP_WAIT_POLICY": own})
    command = [sys.executable, "-c", "import experiments, torch; torch.ones(9)"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    (line,) = {line for line in done.stderr.splitlines() if "OMP_WAIT_POLICY" in line}
    assert f"'{expected}'" in line
