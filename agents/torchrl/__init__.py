"""On-device PPO from TorchRL's parts."""
