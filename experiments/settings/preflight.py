"""Checks of what a run needs of this machine: device, source of shapes, cache, text encoder."""

from __future__ import annotations

import functools

from align3d.errors import settings_of
from align3d.pipeline import default_cache
from align3d.sources import make_source
from experiments.console import process
from experiments.console.writable import writable_folder
from experiments.data.memory_data import open_memory
from experiments.settings.schema import RunConfig
from models import TextEncoder


def check_machine(config: RunConfig) -> None:
    """Tries everything but the folder of the run.

    Raises:
        UserError: There is no such device, text encoder or memory, or the cache cannot be written to.
        DataError: The source has nothing to read.
    """
    process.pick_device(config.device)
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
