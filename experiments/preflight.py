"""What a run needs of this machine, tried before it starts: a device, a source of shapes, its folders."""

from __future__ import annotations

import os
from pathlib import Path

from align3d.build import default_cache
from align3d.sources import make_source
from experiments import runtime
from experiments.config import RunConfig
from experiments.errors import UserError
from experiments.files import make_folder


def check_machine(config: RunConfig) -> None:
    """Tries everything but the folder of the run.

    Raises:
        UserError: there is no such device, or the cache cannot be written to.
        DataError: the source has nothing to read.
    """
    runtime.pick_device(config.device)
    given = {key: value for key, value in config.data.settings.items() if value is not None}
    make_source(config.data.name, **given).fingerprint()  # looks at every file there is to be read
    check_folder("cache", config.cache or default_cache())


def check_folder(setting: str, path: Path) -> None:
    """Makes a folder, and makes sure that it can be written to.

    Raises:
        UserError: naming the setting.
    """
    make_folder(setting, path)
    if not os.access(path, os.W_OK | os.X_OK):
        raise UserError(f"{setting}={path}: you may not write there; name another folder")
