"""Adapters of the functional core to Gymnasium, Stable-Baselines3 and TorchRL."""
