"""Sweeps: what an arm is, the engines that run several of them, and the launchers by which Hydra asks.

``sweep_arm`` is one arm and the process that it is, on whatever machine; ``arm_engines`` says what an engine
does, and runs arms on this machine; ``submitit_engine`` and ``ray_engine`` give them to SLURM and to Ray.
``sweep_loop`` skips what is done, follows what runs and lists what failed, and is the same for all of them.
"""
