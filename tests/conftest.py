"""Settings of all tests."""

import os
import tempfile

os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="align3d-state-")  # for the notes of own_runs.py

import experiments  # noqa: F401  before PyTorch is loaded: on a busy machine its threads are not to spin for long
