"""Dynamic attention policy: the agent within training."""
