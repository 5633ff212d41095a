"""Agents that learn to act without labels, with settings for small problems."""

QUICK = {
    "mcts": {},
    "ppo": {"learning_rate": 3e-3, "batch_size": 64, "seed": 3},
    "ppo_torchrl": {"learning_rate": 3e-3, "batch_size": 64, "seed": 1},
    "a2c": {"learning_rate": 3e-3, "seed": 3},
    "dqn": {"learning_rate": 3e-3, "batch_size": 64, "learning_starts": 50, "exploration_steps": 1500}
    | {"target_update_interval": 100},
    "random_search": {"candidates": 8},
    "fixed": {},
}
"""Settings with which toys are solved in a few batches."""

LIBRARIES = ["a2c", "dqn", "ppo", "ppo_torchrl"]
"""Those that learn from every observation on the way; the others from the first one, or from none."""
