"""One of the processes of a training, or all of it: ``python -m tests.experiments.processes.pair FOLDER``.

It trains on masts with flags, and leaves gradients, losses and weights in ``FOLDER/RANK.pt``.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from align3d.errors import UserError
from experiments.data.corpus import Corpus
from experiments.processes.launch import launched
from experiments.processes.process_group import Processes
from experiments.settings.command import check
from experiments.settings.schema import RunConfig, register_sizes
from experiments.training.loop import advance, train, warm_up
from experiments.training.session import Session
from tests.experiments.evaluation.masts import masts

ROOT = Path(__file__).parents[3]
SPLITS = {"train": torch.arange(10), "reward": torch.arange(10, 13), "test": torch.arange(13, 16)}
SIZES = ("model=tiny", "train.batch_size=8", "train.group=2", "train.epochs=4", "train.hard_epochs=3")
SHARED = (
    *("train.captions=2", "train.mask_equal=true", "train.hubness=0.3", "train.ema=0.9"),
    *("train.hard_scope=batch", "train.mine_by=shapes", "train.mine_every=3"),
    *("train.corrupt=0.5", "train.shift=[grey,partial]", "dap.score_weight=1", "dap.warmup=0.5"),
    "model.color_dropout=0",
)
"""Tricks that draw by shape, so that the number of processes does not matter."""
OWN = (
    *(*SHARED, "train.turn=any", "train.jitter=0.01"),
    *("model.color_dropout=0.2", "model.token_dropout=0.2", "model.patch_dropout=0.2", "model.dropout=0.1"),
)
"""Tricks with draws that each process makes for itself."""
CUT = 4
"""Step before which a training is cut: in the middle, with look-alikes mined."""


@functools.cache
def config_of(cache: Path, *more: str) -> RunConfig:
    fixed = ("agent=none", "train.reuse=false", "train.images_every=0", f"cache={cache}")
    (config,) = check([*SIZES, *fixed, *more])
    return config


def session_of(corpus: Corpus, folder: Path, *more: str, processes: Processes | None = None) -> Session:
    folder.mkdir(exist_ok=True, parents=True)
    config = config_of(folder.parent / "cache", *more)
    torch.manual_seed(0)
    data = dataclasses.replace(corpus, splits=SPLITS)
    return Session(config, folder, data, torch.device("cpu"), processes=processes)


def gradients(session: Session) -> dict[str, Tensor]:
    """Gradients of the first step."""
    session.model.train()
    terms = session.objective(session.batches.at(0), None, None)
    session.fabric.backward(terms["loss/total"])
    found = {name: weight.grad.clone() for name, weight in session.model.named_parameters()}
    session.optimizer.zero_grad()
    return found


def weights(session: Session) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in session.model.state_dict().items()}


def lines_of(folder: Path) -> list[dict[str, Any]]:
    """Figures that a training has written, but for the time."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in ("time", "phase")} for line in lines]


def started(folder: Path, rank: int, port: int, count: int = 2) -> subprocess.Popen[str]:
    """One of the processes, as ``torchrun`` would start it."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.experiments.processes.pair", str(folder)],
        cwd=ROOT,
        env={**os.environ, **{name: str(value) for name, value in place.items()}},
        stderr=subprocess.PIPE,
        text=True,
    )


def said(refused: Callable[[], object]) -> str:
    """The fault of something that is to be refused."""
    try:
        refused()
    except UserError as error:
        return str(error)
    raise AssertionError("nothing was refused")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def main(folder: Path) -> None:
    """The part of one process, on which the others wait."""
    torch.set_num_threads(1)
    register_sizes()
    processes = Processes(launched())
    corpus = masts(folder / f"data{processes.rank}")
    found: dict[str, Any] = {}

    def session(name: str, *more: str) -> Session:
        return session_of(corpus, folder / name, *more, processes=processes)

    shared = session("shared", *SHARED)
    found["dealt"] = [shared.batches.at(step).indices for step in range(shared.batches.random_steps)]
    found["gradients"] = gradients(shared)
    advance(shared, shared.batches.total)
    found["shared"] = weights(shared)

    found["other data"] = said(
        lambda: processes.check_equal("the data", {"hash": f"a{processes.rank}"}, "copy it")
    )
    with torch.no_grad():
        shared.model.log_scale += processes.rank
    found["other weights"] = said(shared.save)

    whole = session("whole", *OWN)
    advance(whole, whole.batches.total)
    found["whole"] = weights(whole)

    for name in ("kept", "taken"):  # a warm-up from the cache
        warm = session(name, *OWN, "train.reuse=true")
        warm_up(warm)
        found[name] = (warm.step, warm.reused_steps, weights(warm), torch.rand(3))

    cut = session("cut", *OWN)
    advance(cut, CUT)
    cut.save()
    torch.rand(3 + processes.rank)  # draws of somebody else
    resumed = session("cut", *OWN)
    assert resumed.step == CUT
    train(resumed)
    found["resumed"], found["average"] = weights(resumed), resumed.average.state()
    torch.save(found, folder / f"{processes.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
