"""Control agents: none, random, greedy, random search, fixed."""
