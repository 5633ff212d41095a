"""Opening of a run on one process or several: settings, versions and data that all of them have to share."""

from __future__ import annotations

import os
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch

from align3d.console.terminal import say_error
from align3d.errors import UserError
from experiments.console import process
from experiments.data.corpus import load_corpus
from experiments.data.memory_data import load_memory_data
from experiments.processes.launch import Launch
from experiments.processes.process_group import PeerError, Processes
from experiments.run_folder.versions import versions
from experiments.settings.preflight import check_machine
from experiments.settings.reading import from_plain
from experiments.settings.schema import RunConfig
from experiments.training.loop import train
from experiments.training.origins import code_hashes
from experiments.training.session import Session

FAULT_EXIT, PEER_EXIT, INTERRUPTED_EXIT = 2, 1, 130
LEADER_FIRST_SECONDS = 3.0
"""Time that the leader has to report a fault that all processes have, before another one does."""


def begin(processes: Processes, plain: dict[str, Any], folder: Path, *, done: bool) -> dict[str, Any]:
    """Tell all processes what the leader begins.

    Args:
        processes: Of the run.
        plain: The leader's settings, as plain values.
        folder: The leader's run folder.
        done: Whether the run there is finished, so that there is nothing to do.

    Returns:
        The leader's ``plain``, ``folder`` and ``done``, in every process.

    Raises:
        UserError: Processes were started by other commands, or have other versions or other code.
    """
    start = processes.share({"plain": plain, "folder": folder, "done": done})
    if processes.together:
        typed = dict.fromkeys(sys.orig_argv[1:], "typed")
        processes.check_equal("the commands", typed, "start all of them by the same command")
        mine = {**versions(), **{f"code of {name}": code for name, code in code_hashes([]).items()}}
        processes.check_equal("the versions", mine, "install the same on every machine")
    if start["done"]:
        processes.leave()
    return start


def open_session(config: RunConfig, folder: Path, processes: Processes) -> Session:
    """The session of a run, once its data are loaded.

    Args:
        config: The settings.
        folder: The run's folder, which the leader alone reads and writes.
        processes: Processes that train it.

    Raises:
        UserError: A setting cannot be met here, or the data are not the same in all processes.
        PeerError: One of the processes has ended.
    """
    device = process.pick_device(config.device)
    if processes.together and device.type == "cuda":
        device = torch.device("cuda", processes.launch.local_rank)
    process.use_threads(config.threads)
    process.seed_everything(config.seed)
    start = time.monotonic()
    corpus = load_corpus(config, device)
    memory_data = load_memory_data(config, corpus, device)
    seconds = time.monotonic() - start
    processes.meet()
    mine = {
        "device": device.type,
        "hash of the data": corpus.dataset.hash,
        "hash of the memory": None if memory_data is None else memory_data.dataset.hash,
    }
    processes.check_equal("the data", mine, "let all of them read the same data, on devices of one kind")
    process.seed_everything(config.seed)  # whether the data was built or found must not matter
    with processes.watched():
        session = Session(config, folder, corpus, device, memory_data, processes)
    session.spent("data", seconds)
    return session


def follow(launch: Launch) -> int:
    """Train with the leader, as one of the other processes, which write no file of the run and say nothing.

    Args:
        launch: Place of this process.

    Returns:
        The exit code. A fault of this process alone is one line on stderr; of one that all have, and of the
        end of another process, the leader speaks.
    """
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        try:
            _follow(Processes(launch))
            return 0
        except PeerError:
            return PEER_EXIT
        except KeyboardInterrupt:
            return INTERRUPTED_EXIT
        except UserError as error:
            fault = error
    time.sleep(LEADER_FIRST_SECONDS)
    say_error(UserError(f"process {launch.rank} of {launch.processes}: {fault}"))
    return FAULT_EXIT


def _follow(processes: Processes) -> None:
    start = begin(processes, {}, Path(), done=False)
    if start["done"]:
        return
    config = from_plain(start["plain"])
    check_machine(config)
    train(open_session(config, start["folder"], processes))
