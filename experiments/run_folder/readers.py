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
from durable.checksums import checked_json
from durable.errors import DamagedFileError
from experiments.run_folder.config_file import check_text
from experiments.run_folder.names import BASELINE, FINAL, PLAIN_SCHEMA, RERANKED, RESULTS, SCHEMA

#: What every reader of results.json counts on.
_NEEDED = {"dataset": ("name", "hash", "test"), "metrics": (BASELINE, RERANKED, FINAL)}


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file, compared with its checksum if it has one.

    Raises:
        DamagedFileError: It is cut or changed.
        UserError: There is no such file, or it holds something else.
    """
    return checked_json(path, _json(path), needed=False)


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise _unreadable(path, error) from error
    return _mapping(path, found)


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings in a YAML file, as plain values, compared with their checksum if there is one.

    Raises:
        UserError: There is no such file, it is damaged, or it holds something else.
    """
    try:
        check_text(path)
        found = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise _unreadable(path, error) from error
    return _mapping(path, found)


def read_results(folder: Path) -> dict[str, Any]:
    """The results.json of a finished run.

    Raises:
        DamagedFileError: It is cut or changed.
        UserError: It is of another schema, or lacks what every reader needs.
    """
    path = folder / RESULTS
    found = checked_results(path, _json(path))
    for section, names in _NEEDED.items():
        values = found.get(section)
        for name in names:
            if not isinstance(values, dict) or name not in values:
                raise UserError(
                    f"{path}: no {section}.{name}; remove the file, and it is written again: "
                    f"python -m experiments.run resume=true {setting('hydra.run.dir', folder)}"
                )
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


def _mapping(path: Path, found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise UserError(f"{path}: holds a {type(found).__name__}, expected names and values")
    return {str(key): value for key, value in found.items()}


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = " ".join(str(error).split())
    kind = UserError if isinstance(error, OSError) else DamagedFileError
    return kind(f"{path}: cannot be read ({reason[:200]}); put it back from a copy, or run it again")
