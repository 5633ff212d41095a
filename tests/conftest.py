"""Settings of all tests."""

import os
import tempfile

os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="align3d-state-")  # for the notes of own_runs.py

if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):  # each has its share of the cores
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(workers))))

import experiments  # noqa: F401  before PyTorch is loaded: on a busy machine its threads are not to spin for long
