"""Settings of a resumed run: those in its folder, with what is typed taken as changes to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from align3d.console.typed_settings import setting
from align3d.errors import UserError, closest, did_you_mean
from experiments.run_folder.links import check_links
from experiments.run_folder.names import CONFIG, FREE
from experiments.run_folder.readers import read_yaml
from experiments.settings.changes import RUN_DIR, Change, differences, refuse
from experiments.settings.named_again import Named
from experiments.settings.reading import from_plain, outdated
from experiments.settings.sent_settings import faults_of, permitted, tell_unused_cache

_FREE_DEFAULTS = {"resume": False, "accept_changes": False, "device": "auto", "cache": None, "loggers": []}


def asks_to_resume(overrides: Sequence[Override]) -> bool:
    """Whether a command line says ``resume=true``."""
    given = [override for override in overrides if override.key_or_group == "resume"]
    return bool(given) and not given[-1].is_sweep_override() and given[-1].value() is True


def resumed_settings(folder: Path, overrides: Sequence[Override], groups: Iterable[str]) -> dict[str, Any]:
    """Settings of the run in a folder, changed by what is typed.

    Args:
        folder: Folder of the run.
        overrides: Overrides of the command line.
        groups: Names of the groups of conf/.

    Returns:
        Plain settings with ``resume`` turned on, not yet checked.

    Raises:
        UserError: There is no run, another version began it, what is typed cannot be changed, or the run is a
            stranger's and names what is not followed.
    """
    path = folder / CONFIG
    if not path.exists():
        raise UserError(f"{setting(RUN_DIR, folder)}: no run there to resume{similar_folder(folder)}")
    run_dir = setting(RUN_DIR, folder)
    check_links(folder)
    kept = read_yaml(path)
    there = permitted(kept, folder, run_dir, _named(overrides), reads_memory=True)
    with faults_of(path):
        fault = outdated({**dict.fromkeys(FREE), **there})
    if fault:
        raise UserError(
            f"{run_dir}: the run there was begun by another version, whose settings "
            f"differ ({fault}); resume it with that version, or start anew in another folder"
        )
    with faults_of(path):
        from_plain({**_FREE_DEFAULTS, **there})
    settings = OmegaConf.create(there)
    known = {*_dotted(there), *FREE}
    changes: list[Change] = []
    for override in overrides:
        name = override.key_or_group
        if name in ("resume", "hydra") or name.startswith(("hydra.", "hydra/")):
            continue
        if name in groups:
            changes += _of_a_group(override, there)
        else:
            if name not in known and not override.is_add():
                close = did_you_mean(name, known)
                raise UserError(f"{override.input_line}: no such setting in the run that is resumed{close}")
            OmegaConf.update(settings, name, override.value(), merge=False)  # a deleted one becomes null
    try:
        plain = OmegaConf.to_container(settings, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(str(error).splitlines()[0]) from error
    assert isinstance(plain, dict)
    now = {"accept_changes": False} | {str(key): value for key, value in plain.items()} | {"resume": True}
    refuse([*changes, *differences(there, now)], folder)
    tell_unused_cache(kept, now, run_dir)
    return now


def similar_folder(folder: Path) -> str:
    """``"; did you mean X?"`` where a folder beside one that is missing has a similar name."""
    if not folder.parent.is_dir():
        return ""
    beside = [found.name for found in folder.parent.iterdir() if found.is_dir() and found.name != folder.name]
    near = closest(folder.name, beside)
    return f"; did you mean {folder.parent / near}?" if near else ""


def _named(overrides: Sequence[Override]) -> Named:
    """What is named again, so that a run that was sent may use it; its value has to be that of the run."""
    return {
        override.key_or_group: override.value()
        for override in overrides
        if not override.is_sweep_override() and not override.is_delete()
    }


def _of_a_group(override: Override, there: Mapping[str, Any]) -> list[Change]:
    """The change that the choice of an option asks for: none where the run has this option."""
    group, option = override.key_or_group, override.value()
    if group not in there:
        raise UserError(f"{override.input_line}: belongs to a sweep, not to the run that is resumed")
    name = there[group].get("name")
    return [] if option in (name, "custom") else [Change(group, name, option)]


def _dotted(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted names of all settings."""
    for key, value in values.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{key}.")
