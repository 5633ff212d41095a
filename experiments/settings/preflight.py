"""Checks of what a run needs of this machine: device, source of shapes, cache, text encoder."""

from __future__ import annotations

import functools
from pathlib import Path

from align3d.dataset import ShapeDataset
from align3d.errors import DataError, UserError, did_you_mean, settings_of
from align3d.pipeline import default_cache
from align3d.sources import make_source
from experiments.console import process
from experiments.console.writable import writable_folder
from experiments.loggers.installed import check_loggers
from experiments.settings.schema import MEMORIES, RunConfig
from models import TextEncoder


def check_machine(config: RunConfig) -> None:
    """Tries everything but the folder of the run.

    Raises:
        UserError: There is no such device, logger, text encoder or memory, or the cache cannot be written to.
        DataError: The source has nothing to read.
    """
    process.pick_device(config.device)
    check_loggers(config.loggers)
    given = {key: value for key, value in config.data.settings.items() if value is not None}
    make_source(config.data.name, **given).fingerprint()  # looks at every file there is to be read
    open_memory(config)
    cache = (config.cache or default_cache()).expanduser()
    writable_folder(f"cache={cache}", cache)
    check_encoder(config.train.text_encoder)


@functools.cache
def check_encoder(name: str) -> None:
    """Loads a text encoder of the user's, once for all arms of a sweep.

    Raises:
        UserError: There is none of that name.
    """
    with settings_of(f"train.text_encoder={name}"):
        TextEncoder(name).check()


def open_memory(config: RunConfig) -> ShapeDataset | None:
    """The dataset whose pairs are the memory, None where ``memory`` names none.

    Raises:
        UserError: No dataset there, a damaged one, or clouds with too few points for the model.
    """
    if config.memory in MEMORIES:
        return None
    try:
        dataset = ShapeDataset.load(Path(config.memory).expanduser(), verify=True)
    except DataError as error:
        close = did_you_mean(config.memory, MEMORIES)
        raise UserError(f"memory={config.memory}: {error}{close}") from error
    if dataset.num_points < config.model.points:
        raise UserError(
            f"memory={config.memory}: its shapes have {dataset.num_points} points, the model reads "
            f"{config.model.points}; build it with points={config.model.points} or more"
        )
    return dataset
