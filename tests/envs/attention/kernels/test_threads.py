"""Rows over several threads."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from envs import FAMILIES, STOP, DemoSource, EnvConfig, demo_core
from envs.attention.kernels.threads import spread, without_pytorch

ROOT = Path(__file__).parents[4]


@pytest.fixture(params=(1, 2, 5))
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def played(rows=48):
    core = demo_core(EnvConfig(families=(*FAMILIES, STOP), horizon=6))
    draws = torch.Generator().manual_seed(3)
    episode = DemoSource(core).sample(rows, draws)
    state, seen = core.initial(episode), []
    for _ in range(5):
        mask = core.mask(episode, state)
        action = torch.where(mask, torch.rand(mask.shape, generator=draws), -1.0).argmax(-1)
        next_state = core.transition(episode, state, action)
        seen += [core.reward(episode, state, action, next_state)[0], core.observation(episode, next_state)]
        state = next_state
    return torch.cat([part.flatten() for part in seen])


def test_steps_are_the_same_in_any_number_of_threads(threads):
    found = played()
    assert torch.equal(found, played())
    torch.set_num_threads(1)
    torch.testing.assert_close(found, played(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 250])
def test_every_row_is_worked_on_once(threads, count):
    times = np.zeros(count, int)

    def work(rows):
        times[rows] += 1

    spread(work, (np.arange(0, count, 3), 1), (np.setdiff1d(np.arange(count), np.arange(0, count, 3)), 4))
    assert (times == 1).all()


def test_threads_work_at_the_same_time():
    """Two pieces wait for each other: with one thread nobody would come."""
    both, before = threading.Barrier(2), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        spread(lambda rows: both.wait(timeout=30), (np.arange(2), 1))
    finally:
        torch.set_num_threads(before)


def test_a_fault_in_any_piece_reaches_the_caller(threads):
    def work(rows):
        if 37 in rows:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        spread(work, (np.arange(64), 4))


def test_pytorch_has_its_threads_back(threads):
    with without_pytorch():
        with without_pytorch():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == threads
    with pytest.raises(ZeroDivisionError), without_pytorch():
        raise ZeroDivisionError
    assert torch.get_num_threads() == threads


FORKED = """
import os
import numpy as np
import torch
from envs.attention.kernels.threads import spread

torch.set_num_threads(2)
done = []
spread(lambda rows: done.append(len(rows)), (np.arange(64), 4))
child = os.fork()
spread(lambda rows: done.append(len(rows)), (np.arange(64), 4))
if child == 0:
    os._exit(sum(done) != 128)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_has_threads_of_its_own():
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", FORKED], env=environment, timeout=120, check=False)
    assert done.returncode == 0
