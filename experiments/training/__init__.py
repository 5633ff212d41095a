"""Training loop, loss and session of a run."""
