"""Sizes of the work that the search benchmark gives to all peers."""

ACTIONS, SIMULATIONS, DEPTH, DISCOUNT = 16, 32, 8, 0.97
"""Actions of the problem, and the simulations, greatest depth and discount of a search."""

STATE, HIDDEN = 32, 64
"""Numbers of a state, and of each hidden layer of the dynamics."""

OUTPUTS = STATE + ACTIONS + 2
"""Outputs of the dynamics: reward, value, logits and the next state, in this order."""
