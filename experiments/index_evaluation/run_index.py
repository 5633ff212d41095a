"""The index of a run: ERS over all its shapes with their captions, in the run's folder ``index/``."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

from align3d.errors import UserError, settings_of
from durable.checksums import set_aside, write_json
from durable.errors import DamagedFileError
from durable.file_lock import locked
from experiments.index_evaluation.load_run import check_run, open_run, shapes_of
from experiments.run_folder import checkpoint
from experiments.run_folder.readers import read_json, read_results
from experiments.settings.named_again import NOTHING, Named
from retrieval import ErsIndex
from retrieval.ers.inspect import IndexSummary, read_outline

INDEX = "index"
#: Columns of the index's metadata.
CAPTION, CATEGORY = "caption", "category"
VERSION = 1


def stored_index(run: Path, device: torch.device, named: Named = NOTHING) -> Path:
    """The folder of a run's index; made where there is none, or where the run was trained since.

    Ids are rows of the run's dataset. The metadata hold each shape's first caption and its category.

    Args:
        run: The folder of a finished run.
        device: Where its shapes are encoded.
        named: What the command line names again of what the run names.

    Raises:
        UserError: There is no finished run, its data differ, it cannot be written to, or ``index`` holds
            something else.
    """
    place = check_run(run)
    if not os.access(run, os.W_OK):
        raise UserError(f"run={run}: its index cannot be kept there; copy the folder to where you may write")
    folder, note = run / INDEX, run / f"{INDEX}.json"
    key = _key(run, place)
    with locked(run / f".{INDEX}.lock", advice="copy the folder to another file system"):
        if _noted(note) == key and (folder / "manifest.json").is_file():
            return folder
        trained = open_run(run, device, named)
        dataset = trained.corpus.dataset
        vectors = shapes_of(trained, torch.arange(len(dataset)), device).embedding.float().cpu().numpy()
        index = ErsIndex(seed=trained.config.seed)
        metadata = {CAPTION: [own[0] for own in dataset.captions], CATEGORY: dataset.categories}
        index.build(vectors, np.arange(len(dataset)), metadata)
        with settings_of(f"run={run}"):
            index.save(folder)
        write_json(note, {"key": key})
    return folder


def stored_outline(run: Path, device: torch.device, named: Named = NOTHING) -> IndexSummary:
    """The tree of a run's index, see `stored_index`; an index that is damaged is set aside and made anew."""
    folder = stored_index(run, device, named)
    try:
        return read_outline(folder)
    except ValueError as error:
        set_aside(folder, str(error))
        return read_outline(stored_index(run, device, named))


def _key(run: Path, place: Path) -> str:
    """Changes with the run's data and weights."""
    return f"{VERSION} {read_results(run)['dataset']['hash']} {checkpoint.fingerprint(place)}"


def _noted(path: Path) -> str | None:
    """The key that an index was made for; None without a note, or where it is damaged and set aside."""
    if not path.is_file():
        return None
    try:
        found = read_json(path).get("key")
    except DamagedFileError as error:
        set_aside(path, str(error))
        return None
    return found if isinstance(found, str) else None
