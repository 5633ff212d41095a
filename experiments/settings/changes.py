"""Differences between the settings of a run and those that it is to be resumed with, as they can be typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from align3d.console.typed_settings import setting
from align3d.errors import UserError
from durable.errors import DamagedFileError
from experiments.run_folder.names import CONFIG, FREE, FREE_TRAIN

RUN_DIR = "hydra.run.dir"
"""Setting that names the folder of a run."""


@dataclass(frozen=True)
class Change:
    """A setting that differs between a run and the command that resumes it.

    Attributes:
        name: Dotted name of the setting.
        old: Value that the run has.
        new: Value that the command asks for.
    """

    name: str
    old: Any
    new: Any


def differences(there: Any, now: Any, prefix: str = "") -> list[Change]:
    """Settings that may not differ between a run and its resumption, and do."""
    if not isinstance(there, Mapping) or not isinstance(now, Mapping):
        return [] if there == now or str(there) == str(now) else [Change(prefix, there, now)]
    found = []
    for key in dict.fromkeys([*there, *now]):
        name = f"{prefix}.{key}" if prefix else str(key)
        if name not in FREE and not (prefix == "train" and key in FREE_TRAIN):
            found += differences(there.get(key), now.get(key), name)
    return found


def refuse(changes: Sequence[Change], folder: Path) -> None:
    """Refuse to resume a run with other settings, all of them named at once.

    Raises:
        UserError: There is a change.
    """
    if not changes:
        return
    asked = " ".join(setting(change.name, change.new) for change in changes)
    kept = " ".join(setting(change.name, change.old) for change in changes)
    raise UserError(
        f"{setting(RUN_DIR, folder)}: a resumed run keeps its settings, {kept} (typed: {asked}); "
        "leave these out, or start anew in another folder"
    )


def check_config(folder: Path, kept: Mapping[str, Any], there: Mapping[str, Any], where: str) -> None:
    """Compare the settings in a run's folder with those that another of its files holds.

    Args:
        folder: The run's.
        kept: Settings in the other file.
        there: Settings in config.yaml.
        where: Name of the other file.

    Raises:
        DamagedFileError: They differ in what a run keeps.
    """
    changes = differences(kept, there)
    if changes:
        now = " ".join(setting(change.name, change.new) for change in changes[:3])
        then = " ".join(setting(change.name, change.old) for change in changes[:3])
        raise DamagedFileError(
            f"{folder / CONFIG} is damaged: {now} there, {then} in {where}; put it back from a copy"
        )
