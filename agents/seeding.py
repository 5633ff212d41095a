"""Random draws from explicit generators, also for libraries that draw from the global ones."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

SEED_BOUND = 2**31 - 1


@contextmanager
def global_seed(seed: int) -> Iterator[None]:
    """Seed the global generators of Python, NumPy and PyTorch, on all devices; afterwards they are as before.

    A device that has not been used yet has no state to keep.
    """
    python, numpy = random.getstate(), np.random.get_state(legacy=False)  # noqa: NPY002 - this is about it
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=list(devices)):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


@contextmanager
def seed_from_generator(generator: torch.Generator) -> Iterator[None]:
    """Seed the global generators, for a while, by one number drawn from the given one."""
    seed = torch.randint(SEED_BOUND, (1,), generator=generator, device=generator.device)
    with global_seed(int(seed)):
        yield


def uniform(shape: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
    """Draw uniform numbers in [0, 1) on the generator's device, so that they are the same on every device."""
    return torch.rand(shape, generator=generator, device=generator.device).to(device)
