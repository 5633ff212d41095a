"""The process: allocator, threads, device, seeds. Called before anything large is allocated."""

from __future__ import annotations

import ctypes
import os
import random
import sys
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from align3d.errors import UserError

# Parameters of glibc's mallopt(3).
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_LARGEST_INT = 2**31 - 1
_TOP_PAD_BYTES = 256 * 2**20


def keep_memory() -> bool:
    """Makes glibc reuse freed memory instead of returning it to the kernel and faulting it in again.

    Large tensors are otherwise mapped and unmapped with every operation, and the page faults cost more than
    the arithmetic: training on two cores is 2 to 3 times as fast with this (measured on perceptrons
    128-256-128 over 64 x 1,024 rows: 2.8 and 1.9 s a step without, 0.9 s with). The environment variables
    MALLOC_MMAP_THRESHOLD_ and MALLOC_TRIM_THRESHOLD_ do the same (1.0 s), but must be set before the start.

    Returns:
        Whether the allocator took the settings; False on anything but glibc, where nothing is changed.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # musl has no mallopt
        return False
    settings = (
        (_M_MMAP_THRESHOLD, _LARGEST_INT),
        (_M_TRIM_THRESHOLD, _LARGEST_INT),
        (_M_TOP_PAD, _TOP_PAD_BYTES),
    )
    return all([mallopt(name, value) == 1 for name, value in settings])


def available_cores() -> int:
    """Cores that this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def resident_bytes() -> tuple[int, int] | None:
    """Memory of this process that is in use now: its own, and pages of files, which the system may drop.

    What was freed is given back first, as far as the allocator can. None where the system does not tell.
    """
    with suppress(AttributeError, OSError):  # no glibc
        ctypes.CDLL(None).malloc_trim(0)
    return _resident()


class PeakMemory:
    """The most memory of its own that the process has had while a ``with`` statement lasts.

    Attributes:
        bytes: As far as looking every 20 ms tells; 0 where the system does not.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while True:
            found = _resident()
            self.bytes = max(self.bytes, 0 if found is None else found[0])
            if self._over.wait(0.02):
                return


def _resident() -> tuple[int, int] | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        sizes = dict(line.split(":", 1) for line in lines)
        own, file = (1024 * int(sizes[name].split()[0]) for name in ("RssAnon", "RssFile"))
    except (OSError, KeyError, ValueError, IndexError):  # none but Linux has these
        return None
    return own, file


def use_threads(threads: int | None) -> int:
    """Sets PyTorch's threads.

    Args:
        threads: How many; None takes OMP_NUM_THREADS if it is set, else every core that may be used.

    Returns:
        The number that is used. Sums in floating point depend on it, hence it is part of the run's record.
    """
    if threads is None:
        told = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # "4,2": 4 at the outer level
        threads = int(told) if told.isdecimal() and int(told) else available_cores()
    torch.set_num_threads(threads)
    return threads


def pick_device(name: str) -> torch.device:
    """The device of that name; ``auto`` is the GPU where there is one.

    Raises:
        UserError: There is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"device={name}: no such device; expected auto, cpu, cuda or cuda:0") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device={name}: PyTorch sees no GPU here; use device=cpu or device=auto")
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= there.get(device.type, 0):
        raise UserError(f"device={name}: no such device here; expected auto, cpu, cuda or cuda:0")
    return device


def seed_everything(seed: int) -> None:
    """Seeds the global generators (dropout and initial weights draw from PyTorch's).

    Everything else draws from explicit generators that are seeded from ``seed`` and a name, so that one
    part's draws do not move another's. On a CPU equal settings, versions, machine and threads give equal
    numbers; what is promised and what is not stands in ``docs/runs.md``.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - libraries that still draw from the global state
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def generator(seed: int, *names: str | int) -> torch.Generator:
    """A generator of its own for the part of the program that ``names`` says."""
    words = np.random.SeedSequence([seed, *(_number(name) for name in names)]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(words[0]) << 31 ^ int(words[1]))


def _number(name: str | int) -> int:
    return name if isinstance(name, int) else int.from_bytes(name.encode(), "little")
