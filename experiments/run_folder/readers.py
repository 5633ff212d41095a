"""Readers of what the user names, a file of a run or a folder, that report every fault in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from align3d.console.typed_settings import setting
from align3d.errors import UserError
from durable import plain_data
from durable.checksums import checked_json
from durable.errors import DamagedFileError
from experiments.run_folder.config_file import check_text
from experiments.run_folder.names import BASELINE, FINAL, PLAIN_SCHEMA, RERANKED, RESULTS, SCHEMA
from experiments.run_folder.results_schema import checked

#: What every reader of results.json counts on.
_NEEDED = {"dataset": ("name", "hash", "test"), "metrics": (BASELINE, RERANKED, FINAL)}


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file, read within bounds and compared with its checksum if it has one.

    Raises:
        DamagedFileError: It is cut or changed.
        UserError: There is no such file, or it holds something else.
    """
    return checked_json(path, _mapping(path, plain_data.read_json), needed=False)


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings in the YAML file of a run, as plain values, compared with their checksum if there is one.

    A run writes values and nothing that stands for one, so ``${...}`` is refused, not looked up.

    Raises:
        UserError: There is no such file, it is damaged, or it holds something else.
    """
    found = _mapping(path, plain_data.read_yaml)
    check_text(path)
    if name := _interpolated(found):
        raise UserError(f"{path}: {name} holds ${{...}}; expected its value, which is not looked up")
    return found


def read_results(folder: Path) -> dict[str, Any]:
    """The results.json of a finished run.

    Raises:
        DamagedFileError: It is cut or changed.
        UserError: It is of another schema, or lacks what every reader needs.
    """
    path = folder / RESULTS
    found = checked_results(path, _mapping(path, plain_data.read_json))
    for section, names in _NEEDED.items():
        values = found.get(section)
        for name in names:
            if not isinstance(values, dict) or name not in values:
                raise UserError(
                    f"{path}: no {section}.{name}; remove the file, and it is written again: "
                    f"python -m experiments.run resume=true {setting('hydra.run.dir', folder)}"
                )
    try:
        checked(found)
    except ValueError as error:
        raise UserError(f"{path.parent}: {error}; put it back from a copy, or run it again") from error
    return found


def checked_results(path: Path, found: dict[str, Any]) -> dict[str, Any]:
    """The content of a results.json, once its checksum has been compared.

    Raises:
        DamagedFileError: It was changed.
        UserError: It is of another schema.
    """
    schema = found.get("schema")
    plain = checked_json(path, found, needed=schema == SCHEMA)
    if schema not in (SCHEMA, PLAIN_SCHEMA):
        raise UserError(f"{path}: schema {schema}, expected {SCHEMA}; run it again")
    return plain


def _mapping(path: Path, read: Callable[[Path], Any]) -> dict[str, Any]:
    try:
        found = read(path)
    except DamagedFileError as error:
        raise DamagedFileError(f"{error}; put it back from a copy, or run it again") from error
    if not isinstance(found, dict):
        what = "is empty" if found is None else f"holds a {type(found).__name__}"
        raise DamagedFileError(f"{path}: {what}, expected names and values")
    return found


def _interpolated(value: Any, name: str = "") -> str:
    """Dotted name of the first text with ``${`` in it; empty where there is none."""
    if isinstance(value, dict):
        parts = [(f"{name}.{key}" if name else key, part) for key, part in value.items()]
        if key := next((key for key in value if "${" in key), ""):
            return key
        return next(filter(None, (_interpolated(part, own) for own, part in parts)), "")
    if isinstance(value, list):
        return next(filter(None, (_interpolated(part, name) for part in value)), "")
    return name if isinstance(value, str) and "${" in value else ""
