"""Checkpoints: a folder with tensors in safetensors and all else in JSON, replaced as a whole.

A checkpoint is written beside its place and renamed to a name that nothing has, so that a process killed at
any moment leaves the last whole one. The JSON file has its own checksum and that of the tensors; both are
compared whenever a checkpoint is read. Nothing is pickled: a checkpoint of unknown origin can be read without
running its code.
"""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from align3d.console.terminal import say
from align3d.errors import UserError
from durable.checksums import check_files, checked_json, file_facts, file_sha256, json_bytes
from durable.errors import DamagedFileError
from durable.whole_files import PARTIAL, name_beside, put_in_place, remove, sync_tree

SCHEMA = 2
PLAIN_SCHEMA = 1
"""Schema of checkpoints without checksums, which are read as they are."""
KEEP = 2
TENSORS, STATE = "tensors.safetensors", "state.json"
_FILES = "files"
_NAME = re.compile(r"step-(\d+)(?:-(\d+))?")


def save(
    folder: Path,
    step: int,
    state: dict[str, Any],
    keep: int = KEEP,
) -> Path:
    """Writes the checkpoint ``folder/step-<step>``, or ``step-<step>-<n>`` where that step has one already.

    Args:
        folder: The run's folder of checkpoints.
        step: Where the run stands; of several checkpoints of a step the last one counts.
        state: Nested dictionaries, lists and tuples of tensors and JSON values.
        keep: Newest checkpoints that are kept.

    Returns:
        The checkpoint's folder.

    Raises:
        NoSpaceError: The disk does not take it; the checkpoints that are there stay.
    """
    place = _free_place(folder, step)
    tensors: dict[str, Tensor] = {}
    plain = pack({"schema": SCHEMA, "step": step, **state}, tensors)
    need = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    with name_beside(place, need) as beside:
        beside.mkdir()
        save_file(tensors, beside / TENSORS)
        plain[_FILES] = file_facts(beside, [TENSORS])
        (beside / STATE).write_bytes(json_bytes(plain, indent=None))
        sync_tree(beside)
        put_in_place(beside, place)
    for old in [*_all(folder)[:-keep], *folder.glob(f"{PARTIAL}*")]:
        remove(old)
    return place


def latest(folder: Path) -> Path | None:
    """The newest checkpoint, if there is one."""
    return next(iter(reversed(_all(folder))), None)


def step_of(place: Path) -> int:
    """The step at which a run stands in a checkpoint."""
    return _order(place)[0]


def load_latest(folder: Path, device: torch.device | str = "cpu") -> dict[str, Any] | None:
    """Reads the newest checkpoint that can be read, and tells of those that cannot; None without any.

    Raises:
        UserError: There are checkpoints, but none can be read.
    """
    fault: UserError | None = None
    for place in reversed(_all(folder)):
        try:
            state = load(place, device)
        except UserError as error:
            fault = fault or error
            continue
        if fault is not None:
            say(f"{fault}; going on from {place.name}", error=True)
        return state
    if fault is not None:
        raise UserError(
            f"{fault}; no other checkpoint is whole: put one back from a copy, or train it again"
        ) from fault
    return None


def load(place: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Reads what `save` was given, once its checksums have been compared.

    Raises:
        DamagedFileError: One of its files was changed or cut, or the tensors are missing.
        UserError: It is not a checkpoint, or one of another schema.
    """
    try:
        plain = _plain(place)
        state = unpack(plain, load_file(place / TENSORS, device=str(device)))
    except UserError:
        raise
    except (OSError, SafetensorError, LookupError, TypeError, AttributeError, ValueError) as error:
        raise _not_whole(place / TENSORS, error) from error
    assert isinstance(state, dict)
    return state


def fingerprint(place: Path) -> str:
    """SHA-256 of a checkpoint's tensors, as it was written down with them.

    Raises:
        DamagedFileError: One of the files was changed or cut, or the tensors are missing.
        UserError: It is not a checkpoint, or one of another schema.
    """
    files = _plain(place, verify=False).get(_FILES)
    return file_sha256(place / TENSORS) if files is None else str(files[TENSORS]["sha256"])


def _plain(place: Path, *, verify: bool = True) -> dict[str, Any]:
    """All of a checkpoint but its tensors, whose size is compared, and whose checksum if asked for."""
    try:
        plain = json.loads((place / STATE).read_bytes())
    except (OSError, ValueError) as error:
        raise _not_whole(place / STATE, error) from error
    schema = plain.get("schema") if isinstance(plain, dict) else None
    if isinstance(plain, dict):
        plain = checked_json(place / STATE, plain, needed=schema == SCHEMA)
    if schema not in (SCHEMA, PLAIN_SCHEMA):
        raise UserError(f"{place / STATE}: schema {schema}, expected {SCHEMA}; train it again")
    if schema == SCHEMA:
        check_files(place, {TENSORS: plain[_FILES][TENSORS]}, verify=verify)
    return plain


def _not_whole(path: Path, error: Exception) -> DamagedFileError:
    return DamagedFileError(
        f"{path} is damaged: not a whole checkpoint ({type(error).__name__}: {error}); "
        f"expected {TENSORS} and {STATE}"
    )


def pack(value: Any, tensors: dict[str, Tensor], path: str = "") -> Any:
    """Takes the tensors out of a nested value; what is left can be written as JSON.

    Args:
        value: Nested dictionaries (keys: strings or integers), lists and tuples.
        tensors: Gets the tensors by their path.
        path: Where ``value`` is in the whole.

    Raises:
        TypeError: A value that neither format can hold.
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
        return unpack(value["$array"], tensors).cpu().numpy()
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
    """The checkpoints of a folder, the newest last."""
    found = [(_order(place), place) for place in folder.glob("step-*") if _NAME.fullmatch(place.name)]
    return [place for _, place in sorted(found)]


def _order(place: Path) -> tuple[int, int]:
    """Its step, and which of that step's checkpoints it is."""
    match = _NAME.fullmatch(place.name)
    assert match is not None
    return int(match[1]), int(match[2] or 0)


def _free_place(folder: Path, step: int) -> Path:
    """Behind all others of that step: one that is there is never touched before the new one is whole."""
    taken = [_order(place)[1] for place in _all(folder) if _order(place)[0] == step]
    return folder / (f"step-{step:08d}-{max(taken) + 1}" if taken else f"step-{step:08d}")
