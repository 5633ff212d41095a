"""Check that a folder holds a finished run, made before anything slow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from align3d.console.typed_settings import setting
from align3d.errors import UserError
from durable.errors import DamagedFileError
from experiments.run_folder import checkpoint
from experiments.run_folder.links import check_links
from experiments.run_folder.names import CHECKPOINTS, CONFIG, RESULTS
from experiments.run_folder.readers import read_results, read_yaml
from experiments.settings.changes import RUN_DIR, check_config


def check_run(folder: Path) -> Path:
    """The last checkpoint of a finished run.

    Raises:
        UserError: There is no run, it is not finished, its results are damaged, or a link leads out of it.
    """
    if not (folder / CONFIG).is_file():
        raise UserError(f"run={folder}: no {CONFIG} there; give the folder of a run of experiments.run")
    check_links(folder)
    place = checkpoint.latest(folder / CHECKPOINTS)
    if place is None or not (folder / RESULTS).is_file():
        raise UserError(
            f"run={folder}: the run is not finished; go on with it: "
            f"python -m experiments.run resume=true {setting(RUN_DIR, folder)}"
        )
    results = read_results(folder)
    if "config" in results:
        check_config(folder, results["config"], read_yaml(folder / CONFIG), RESULTS)
    return place


def last_state(folder: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """State in the last checkpoint of a finished run; an older one would give other numbers.

    Raises:
        DamagedFileError: It is damaged; the message says how the end of the run is made anew.
        UserError: There is no finished run, or its checkpoint is of another version.
    """
    place = check_run(folder)
    try:
        return checkpoint.load(place, device)
    except DamagedFileError as error:
        raise DamagedFileError(
            f"{error}; remove {folder / RESULTS}, and the end of the run is made anew from the checkpoint "
            f"before: python -m experiments.run resume=true {setting(RUN_DIR, folder)}"
        ) from error
