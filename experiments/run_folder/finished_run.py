"""Check that a folder holds a finished run, made before anything slow."""

from __future__ import annotations

from pathlib import Path

from align3d.console.typed_settings import setting
from align3d.errors import UserError
from experiments.run_folder import checkpoint
from experiments.run_folder.config_file import check_config
from experiments.run_folder.names import CHECKPOINTS, CONFIG, RESULTS
from experiments.run_folder.readers import read_results, read_yaml
from experiments.settings.changes import RUN_DIR


def check_run(folder: Path) -> Path:
    """The last checkpoint of a finished run.

    Raises:
        UserError: There is no run, it is not finished, or its results are damaged.
    """
    if not (folder / CONFIG).is_file():
        raise UserError(f"run={folder}: no {CONFIG} there; give the folder of a run of experiments.run")
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
