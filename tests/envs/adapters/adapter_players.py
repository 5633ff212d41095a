"""Sources and players for the tests of several adapters: episodes that come in a known order."""

import numpy as np
import torch

from envs import DemoSource, EnvConfig, demo_core

CONFIG = EnvConfig(families=("memory", "hubness", "level", "token", "association", "stop"), horizon=4)


class Queue:
    """Source that hands out the same episodes one after the other, to every caller."""

    def __init__(self, episodes):
        self.episodes = episodes
        self.next = 0

    def sample(self, count, generator):
        self.next += count
        return self.episodes[self.next - count : self.next].clone()


def queues(number, config=CONFIG, length=24):
    """A core and ``number`` sources with equal episodes."""
    core = demo_core(config)
    episodes = DemoSource(core).sample(length, torch.Generator().manual_seed(7))
    return core, *(Queue(episodes) for _ in range(number))


def choose(mask, rng, stop=0.2):
    """A legal action per row: ``stop``, the first one, with a given probability, or if it is alone."""
    action = (rng.random(mask[:, 1:].shape) * mask[:, 1:]).argmax(1) + 1
    stops = (rng.random(len(mask)) < stop) | ~mask[:, 1:].any(1)
    return np.where(stops, 0, action)
