"""Checkpoints: a folder with tensors in safetensors and all else in JSON, replaced as a whole.

A checkpoint is written beside its place and renamed, so that a process killed at any moment leaves the last
whole one. Nothing is pickled: a checkpoint of unknown origin can be read without running its code.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from experiments.errors import UserError

SCHEMA = 1
KEEP = 2
TENSORS, STATE = "tensors.safetensors", "state.json"


def save(
    folder: Path,
    step: int,
    state: dict[str, Any],
    keep: int = KEEP,
) -> Path:
    """Writes the checkpoint ``folder/step-<step>``.

    Args:
        folder: the run's folder of checkpoints.
        step: where the run stands; a checkpoint of the same step is replaced.
        state: nested dictionaries, lists and tuples of tensors and JSON values.
        keep: newest checkpoints that are kept.

    Returns:
        The checkpoint's folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"step-{step:08d}"
    beside = folder / f".partial-{os.getpid()}"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    tensors: dict[str, Tensor] = {}
    plain = pack({"schema": SCHEMA, "step": step, **state}, tensors)
    save_file(tensors, beside / TENSORS)
    (beside / STATE).write_text(json.dumps(plain))
    for path in beside.rglob("*"):
        if path.is_file():
            _flush_to_disk(path)
    shutil.rmtree(place, ignore_errors=True)
    beside.rename(place)
    for old in _all(folder)[:-keep]:
        shutil.rmtree(old)
    for leftover in folder.glob(".partial-*"):
        shutil.rmtree(leftover)
    return place


def latest(folder: Path) -> Path | None:
    """The newest whole checkpoint, if there is one."""
    return next(iter(reversed(_all(folder))), None)


def load(place: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Reads what `save` was given.

    Raises:
        UserError: it is not a checkpoint, or one of another schema.
    """
    try:
        plain = json.loads((place / STATE).read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise UserError(
            f"checkpoint={place}: not a checkpoint ({error}); expected {TENSORS} and {STATE}"
        ) from error
    if plain.get("schema") != SCHEMA:
        raise UserError(
            f"checkpoint={place}: schema {plain.get('schema')}, expected {SCHEMA}; train it again"
        )
    state = unpack(plain, load_file(place / TENSORS, device=str(device)))
    assert isinstance(state, dict)
    return state


def pack(value: Any, tensors: dict[str, Tensor], path: str = "") -> Any:
    """Takes the tensors out of a nested value; what is left can be written as JSON.

    Args:
        value: nested dictionaries (keys: strings or integers), lists and tuples.
        tensors: gets the tensors by their path.
        path: where ``value`` is in the whole.

    Raises:
        TypeError: a value that neither format can hold.
    """
    if isinstance(value, Tensor):
        tensors[path] = value.detach().cpu().contiguous().clone()
        return {"$tensor": path}
    if isinstance(value, np.ndarray):
        return {"$array": pack(torch.from_numpy(np.ascontiguousarray(value)), tensors, path)}
    if isinstance(value, dict):
        items = [[key, pack(child, tensors, f"{path}/{key}")] for key, child in value.items()]
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return dict(items)
        return {"$items": items}
    if isinstance(value, list | tuple):
        children = [pack(child, tensors, f"{path}/{i}") for i, child in enumerate(value)]
        return {"$tuple": children} if isinstance(value, tuple) else children
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{path}: a {type(value).__name__} cannot be kept in a checkpoint")


def unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The inverse of `pack`."""
    if isinstance(value, list):
        return [unpack(child, tensors) for child in value]
    if not isinstance(value, dict):
        return value
    if "$tensor" in value:
        return tensors[value["$tensor"]]
    if "$array" in value:
        return unpack(value["$array"], tensors).numpy()
    if "$tuple" in value:
        return tuple(unpack(child, tensors) for child in value["$tuple"])
    if "$items" in value:
        return {key: unpack(child, tensors) for key, child in value["$items"]}
    return {key: unpack(child, tensors) for key, child in value.items()}


def random_state() -> dict[str, Any]:
    """The states of all global generators."""
    state: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": np.random.get_state(legacy=False),  # noqa: NPY002 - libraries may draw from it
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def restore_random_state(state: dict[str, Any]) -> None:
    """Sets the global generators to what `random_state` returned."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(state["torch"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])


def _all(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), key=lambda place: int(place.name.removeprefix("step-")))


def _flush_to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
