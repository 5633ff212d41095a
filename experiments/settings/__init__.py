"""Settings of a run and the command line that composes them."""
