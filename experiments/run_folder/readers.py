"""Readers of what the user names, a file of a run or a folder, that report every fault in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from align3d.console.typed_settings import setting
from align3d.errors import UserError
from experiments.run_folder.names import BASELINE, FINAL, RERANKED, RESULTS, SCHEMA

#: What every reader of results.json counts on.
_NEEDED = {"dataset": ("name", "hash", "test"), "metrics": (BASELINE, RERANKED, FINAL)}


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        UserError: There is no such file, it is damaged, or it holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise _unreadable(path, error) from error
    return _mapping(path, found)


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings in a YAML file, as plain values.

    Raises:
        UserError: There is no such file, it is damaged, or it holds something else.
    """
    try:
        found = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise _unreadable(path, error) from error
    return _mapping(path, found)


def read_results(folder: Path) -> dict[str, Any]:
    """The results.json of a finished run.

    Raises:
        UserError: It is damaged, of another schema, or lacks what every reader needs.
    """
    path = folder / RESULTS
    found = read_json(path)
    if found.get("schema") != SCHEMA:
        raise UserError(f"{path}: schema {found.get('schema')}, expected {SCHEMA}; run it again")
    for section, names in _NEEDED.items():
        values = found.get(section)
        for name in names:
            if not isinstance(values, dict) or name not in values:
                raise UserError(
                    f"{path}: no {section}.{name}; remove the file, and it is written again: "
                    f"python -m experiments.run resume=true {setting('hydra.run.dir', folder)}"
                )
    return found


def _mapping(path: Path, found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise UserError(f"{path}: holds a {type(found).__name__}, expected names and values")
    return {str(key): value for key, value in found.items()}


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = " ".join(str(error).split())
    return UserError(f"{path}: cannot be read ({reason[:200]}); put it back from a copy, or run it again")
