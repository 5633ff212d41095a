"""A process that compiles the kernels and one that finds them on disk compute the same, bit for bit."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[4]
PLAY = """
import hashlib
import torch
from envs import FAMILIES, STOP, DemoSource, EnvConfig, demo_core

torch.set_num_threads(1)
core = demo_core(EnvConfig(families=(*FAMILIES, STOP), horizon=9))
draws = torch.Generator().manual_seed(0)
episode = DemoSource(core).sample(64, draws)
state, found = core.initial(episode), hashlib.sha256()
for _ in range(8):
    mask = core.mask(episode, state)
    action = torch.where(mask, torch.rand(mask.shape, generator=draws), -1.0).argmax(-1)
    next_state = core.transition(episode, state, action)
    reward, _ = core.reward(episode, state, action, next_state)
    for tensor in (reward, core.observation(episode, next_state)):
        found.update(tensor.numpy().tobytes())
    state = next_state
print(found.hexdigest())
"""


def played(kept: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PLAY],
        env=os.environ | {"PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(kept)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_kept_code_computes_what_new_code_does(tmp_path: Path) -> None:
    first = played(tmp_path)
    assert any(tmp_path.rglob("*.kernel"))
    assert played(tmp_path) == first
