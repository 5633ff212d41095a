"""Notes on the runs that were begun on this machine, kept outside of run folders.

A run folder may come from anybody, and all that it holds may be forged. When a run is begun, the checksum of
its ``config.yaml`` is noted in the user's folder of state. What noted settings name, the user has named.
A folder may be moved and copied: its settings count, not its place.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from align3d.own_modules import file_of, is_projects
from durable.checksums import file_sha256, write_json
from durable.errors import UserError
from durable.plain_data import read_json
from experiments.run_folder.names import CONFIG


@dataclass(frozen=True)
class OwnRun:
    """Names that a run was begun with on this machine.

    Attributes:
        folder: Where it was begun.
        modules: Files of the modules of the user's own, by name; empty for those without a file.
        text_encoder: Name or folder of the text encoder.
    """

    folder: str
    modules: Mapping[str, str] = field(default_factory=dict)
    text_encoder: str = ""

    def imported(self, module: str) -> bool:
        """Whether the run was begun with a module, and it is in the same file today."""
        return module in self.modules and self.modules[module] == str(file_of(module) or "")


def own_run(folder: Path) -> OwnRun | None:
    """The note on the run in a folder; None where its settings were not typed on this machine."""
    config = folder / CONFIG
    if not config.is_file():
        return None
    path = _notes() / f"{file_sha256(config)}.json"
    if not path.is_file():
        return None
    try:
        found = read_json(path)
        return OwnRun(str(found["folder"]), dict(found["modules"]), str(found["text_encoder"]))
    except (UserError, KeyError, TypeError, ValueError):
        return None  # a note that is damaged says nothing


def note_own(folder: Path, modules: Iterable[str], text_encoder: str) -> None:
    """Note that the settings in a folder were typed here, with what they named.

    Where it cannot be noted, one line says so, and the run is taken for a stranger's later.
    """
    files = {name: str(file_of(name) or "") for name in modules}
    note = OwnRun(str(folder.absolute()), files, text_encoder)
    try:
        place = _notes()
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_json(place / f"{file_sha256(folder / CONFIG)}.json", asdict(note))
    except (OSError, UserError, RuntimeError) as error:
        print(
            f"{folder}: cannot be noted as a run of your own ({error}); later commands ask what it may open",
            file=sys.stderr,
        )


def may_import(module: str, own: OwnRun | None, named: Iterable[str] = ()) -> bool:
    """Whether a module that a run names may be imported.

    Args:
        module: Its name.
        own: The note on the run.
        named: Modules that were named again, on the command line.
    """
    return module in named or is_projects(module) or (own is not None and own.imported(module))


def _notes() -> Path:
    """Folder of the notes: of the user's state, as a cache may be shared."""
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "align3d" / "runs"
