"""Settings of a run folder that somebody may have sent: what of them is followed.

What a run of one's own names was typed here, see `experiments.run_folder.own_runs`. Of any other run nothing
is imported, no path is followed and no encoder loaded unless the command names it again; its ``cache`` is
left alone, and no logger is opened for it.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from align3d.console.typed_settings import setting
from align3d.errors import UserError, did_you_mean
from align3d.sources import SOURCES, setting_names
from experiments.run_folder.own_runs import OwnRun, may_import, own_run
from experiments.settings.named_again import CACHE, DATA, ENCODER, IMPORTS, LOGGERS, MEMORY, NOTHING, Named
from experiments.settings.schema import MEMORIES, DataConfig, TrainConfig


def permitted(
    plain: Mapping[str, Any], folder: Path, label: str, named: Named = NOTHING, *, reads_memory: bool = False
) -> dict[str, Any]:
    """The settings of a run as far as they may be followed.

    Its ``cache`` and its ``loggers`` are left out.

    Args:
        plain: Content of its config.yaml, not yet checked.
        folder: Of the run.
        label: What was typed, such as ``run=FOLDER``.
        named: What the command line names again.
        reads_memory: Whether the dataset that ``memory`` names is to be read.

    Raises:
        UserError: They name what is not followed; the line says what to add.
    """
    own = own_run(folder)
    asked = [*_asked(plain, own, named, reads_memory=reads_memory)]
    if asked:
        words = " ".join(setting(name, value) for name, value in asked)
        raise UserError(
            f"{label}: its settings were not typed on this machine, so what they name is not imported or "
            f"opened; add to the command what of it you trust, or your own: {words}"
        )
    found = copy.deepcopy(dict(plain))
    if own is None and CACHE in found:
        found[CACHE] = None
    if own is None and LOGGERS in found:
        found[LOGGERS] = []  # they would show a stranger's run under the user's own account
    memory = found.get(MEMORY)
    if own is None and not reads_memory and isinstance(memory, str) and memory not in MEMORIES:
        found[MEMORY] = MEMORIES[0]  # nobody looks at it
    return found


def tell_unused_cache(plain: Mapping[str, Any], now: Mapping[str, Any], label: str) -> None:
    """A line on stderr if the cache that a run names is not the one that is used."""
    if plain.get(CACHE) is not None and now.get(CACHE) is None:
        print(f"{label}: its {setting(CACHE, plain[CACHE])} is not used, the default one is", file=sys.stderr)


def replaced(plain: dict[str, Any], named: Named) -> dict[str, Any]:
    """Settings with what the command line names again in the place of the run's.

    Raises:
        UserError: The run names nothing by such a name.
    """
    found = copy.deepcopy(plain)
    for name, value in named.items():
        if name != IMPORTS:
            _replace(found, name, value)
    return found


@contextmanager
def faults_of(path: Path) -> Iterator[None]:
    """Puts the name of a file before what is wrong with the settings in it."""
    try:
        yield
    except UserError as error:
        told = str(error)
        raise UserError(told if told.startswith(str(path)) else f"{path}: {told}") from error


def _asked(
    plain: Mapping[str, Any], own: OwnRun | None, named: Named, *, reads_memory: bool
) -> Iterator[tuple[str, Any]]:
    """Settings that are to be named again, and their values."""
    data, train = (_section(plain, name) for name in ("data", "train"))
    listed = plain.get(IMPORTS) or []
    modules = [str(module) for module in (listed if isinstance(listed, list) else [listed])]
    source, colon, _ = str(data.get("name")).partition(":")
    modules += [source] if colon else []
    again = [str(module) for module in named.get(IMPORTS) or ()]
    if refused := [module for module in dict.fromkeys(modules) if not may_import(module, own, again)]:
        yield IMPORTS, refused
    if own is not None:
        return
    for name, value in data.items():
        if f"{DATA}{name}" not in named and _is_path(str(data.get("name")), name, value):
            yield f"{DATA}{name}", value
    encoder = train.get("text_encoder", TrainConfig.text_encoder)
    if encoder != TrainConfig.text_encoder and ENCODER not in named:
        yield ENCODER, encoder
    memory = plain.get(MEMORY, MEMORIES[0])
    if reads_memory and MEMORY not in named and memory not in (*MEMORIES, False):
        yield MEMORY, memory


def _is_path(source: str, name: str, value: Any) -> bool:
    """Whether a setting of a source may be a path: by its type; of a source of one's own any text may."""
    if value is None or name in DataConfig.__dataclass_fields__:
        return False
    if name == "captioner":  # an address where data would go, and the name of a variable that holds a key
        return True
    kind = SOURCES.get(source)
    if kind is not None and kind.__module__.startswith("align3d."):
        return "Path" in setting_names(kind).get(name, "")
    return _holds_text(value)


def _holds_text(value: Any) -> bool:
    if isinstance(value, list | dict):
        return any(_holds_text(part) for part in (value.values() if isinstance(value, dict) else value))
    return isinstance(value, str)


def _section(plain: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = plain.get(name)
    return found if isinstance(found, dict) else {}


def _replace(settings: dict[str, Any], name: str, value: Any) -> None:
    """Puts a value in the place of a text that is there.

    Raises:
        UserError: There is no such setting, or it is none that can be named again.
    """
    *sections, last = name.split(".")
    for section in sections:
        settings = _section(settings, section)
    if name == CACHE:
        settings[CACHE] = value
        return
    if last not in settings or (last in DataConfig.__dataclass_fields__ and sections == ["data"]):
        raise UserError(f"{name}={value}: the run names nothing by it{did_you_mean(last, settings)}")
    settings[last] = value
