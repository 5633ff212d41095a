"""Settings of all tests."""

import experiments  # noqa: F401  before PyTorch is loaded: on a busy machine its threads are not to spin for long
