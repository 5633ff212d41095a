"""Agents that calibrate attention, behind one protocol; and the tree search they plan with."""
