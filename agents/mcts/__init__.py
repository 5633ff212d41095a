"""Monte Carlo tree search agent and the network that it trains."""
