"""The warm-up, HAF before the agent takes part: trained once, kept in the cache, shared by equal runs.

The arms of an ablation differ in what comes after it, so they begin from one and the same model. A warm-up is
found by a hash of everything that determines it: data, split, model, training, seed, threads, code.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

import durable.plain_text
import models
from align3d import captions, naming
from align3d.errors import UserError
from align3d.pipeline import default_cache
from align3d.shifts import parse_shift
from durable.checksums import set_aside
from durable.errors import NoSpaceError
from durable.file_lock import locked
from experiments.data import attention_maps, augmentation, batches, part_mentions, shifted_corpus
from experiments.data.corpus import Corpus
from experiments.run_folder import checkpoint
from experiments.settings.schema import RunConfig
from experiments.training import loss, weight_average

#: Settings of training that leave its numbers alone.
FREE = ("checkpoint_every", "checkpoint_minutes", "images_every", "reuse")
#: Code that decides how a warm-up ends.
_TRAINING = (
    batches,
    attention_maps,
    augmentation,
    captions,
    durable.plain_text,
    naming,
    part_mentions,
    shifted_corpus,
    loss,
    weight_average,
)
CODE = (*sorted(Path(str(models.__file__)).parent.rglob("*.py")), *(module.__file__ for module in _TRAINING))


def first_calibrated(config: RunConfig, total: int) -> int:
    """The first step of ``total`` in which the agent may calibrate the batch: where the warm-up ends."""
    return min(total, math.ceil(config.dap.warmup * total))


def key(config: RunConfig, corpus: Corpus, steps: int, total: int, processes: int = 1) -> str:
    """A hash of everything that determines the first ``steps`` of ``total`` steps on so many processes."""
    train = {name: value for name, value in dataclasses.asdict(config.train).items() if name not in FREE}
    what = {
        "data": [corpus.dataset.hash, corpus.dataset.manifest.key],
        "shapes": hashlib.sha256(corpus.splits["train"].numpy().tobytes()).hexdigest(),
        "model": dataclasses.asdict(config.model),
        "train": train,
        "shifts": [parse_shift(name).fingerprint for name in config.train.shifts],
        "seed": config.seed,
        "steps": [steps, total],
        "processes": processes,
        "arithmetic": [config.precision, config.compile],
        "threads": torch.get_num_threads(),
        "device": torch.device(config.device).type if config.device != "auto" else torch.cuda.is_available(),
        "torch": torch.__version__,
        "code": [hashlib.sha256(Path(str(path)).read_bytes()).hexdigest() for path in CODE],
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:24]


class WarmupCache:
    """The warm-ups in the cache.

    Args:
        config: Names the cache.
    """

    def __init__(self, config: RunConfig) -> None:
        self.folder = (config.cache or default_cache()) / "warmups"

    @contextmanager
    def held(self, name: str) -> Iterator[Path]:
        """The place of a warm-up, for one process at a time: the second finds what the first one made.

        Raises:
            LockError: The file system of the cache knows no locks.
        """
        with locked(
            self.folder / f"{name}.lock", waiting=_say_waiting, advice="name another folder as cache="
        ):
            yield self.folder / name

    @staticmethod
    def load(place: Path, device: torch.device) -> dict[str, Any] | None:
        """State that was kept there, None if there is none, or it is to be made anew.

        One that is damaged is set aside, with a line on stderr.
        """
        newest = checkpoint.latest(place)
        if newest is None:
            return None
        try:
            return checkpoint.load(newest, device)
        except UserError as error:
            set_aside(place, str(error))
            return None

    @staticmethod
    def save(place: Path, step: int, state: dict[str, Any]) -> None:
        """Keeps the state of a run after ``step`` steps, with the lines of its journal.

        A run goes on without, with a line on stderr, where the cache has no room for it.
        """
        try:
            checkpoint.save(place, step, state, keep=1)
        except NoSpaceError as error:
            print(f"the warm-up is not kept for other runs: {error}", file=sys.stderr, flush=True)


def _say_waiting() -> None:
    print("waiting for another run that trains the same warm-up", file=sys.stderr, flush=True)
