"""The index of a run: ERS over all its shapes with their captions, in the run's folder ``index/``."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock

from align3d.errors import UserError, settings_of
from experiments.index_evaluation.load_run import check_run, open_run, shapes_of
from experiments.run_folder import checkpoint
from experiments.run_folder.readers import read_results
from retrieval import ErsIndex

INDEX = "index"
#: Columns of the index's metadata.
CAPTION, CATEGORY = "caption", "category"
VERSION = 1


def stored_index(run: Path, device: torch.device) -> Path:
    """The folder of a run's index; made where there is none, or where the run was trained since.

    Ids are rows of the run's dataset. The metadata hold each shape's first caption and its category.

    Args:
        run: The folder of a finished run.
        device: Where its shapes are encoded.

    Raises:
        UserError: There is no finished run, its data differ, it cannot be written to, or ``index`` holds
            something else.
    """
    place = check_run(run)
    if not os.access(run, os.W_OK):
        raise UserError(f"run={run}: its index cannot be kept there; copy the folder to where you may write")
    folder, note = run / INDEX, run / f"{INDEX}.json"
    key = _key(run, place)
    with FileLock(run / f".{INDEX}.lock"):
        if _noted(note) == key and (folder / "manifest.json").is_file():
            return folder
        trained = open_run(run, device)
        dataset = trained.corpus.dataset
        vectors = shapes_of(trained, torch.arange(len(dataset)), device).embedding.float().cpu().numpy()
        index = ErsIndex(seed=trained.config.seed)
        metadata = {CAPTION: [own[0] for own in dataset.captions], CATEGORY: dataset.categories}
        index.build(vectors, np.arange(len(dataset)), metadata)
        with settings_of(f"run={run}"):
            index.save(folder)
        beside = note.with_suffix(f".partial-{os.getpid()}")
        beside.write_text(json.dumps({"key": key}) + "\n")
        beside.rename(note)
    return folder


def _key(run: Path, place: Path) -> str:
    """Changes with the run's data and weights."""
    data = read_results(run)["dataset"]["hash"]
    with (place / checkpoint.TENSORS).open("rb") as file:
        return f"{VERSION} {data} {hashlib.file_digest(file, 'sha256').hexdigest()}"


def _noted(path: Path) -> str | None:
    """The key that an index was made for; None where there is no note, or it cannot be read."""
    try:
        found = json.loads(path.read_text()).get("key")
    except (OSError, ValueError, AttributeError):
        return None
    return found if isinstance(found, str) else None
