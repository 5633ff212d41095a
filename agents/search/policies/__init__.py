"""Search policies (UCT, PUCT, Gumbel) and the transforms that they use."""
