"""Modules of the user's own, which a command line names: where they are looked for, and their import.

``python -m`` puts the working folder first among the places where Python looks for modules, so that a
``yaml.py`` or ``models/`` in a folder of downloads would be run in place of what is installed. The packages
with commands take it out (``experiments/__init__.py``, ``align3d/working_folder.py``); here it comes back, as
the last place, when a module of the user's own is asked for.
"""

from __future__ import annotations

import importlib
import os
import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

PROJECT = Path(__file__).resolve().parents[1]
PACKAGES = ("agents", "align3d", "compiling", "durable", "envs", "experiments", "models", "retrieval")
"""Packages of this project; a checkout has ``examples`` too."""


def import_own(name: str) -> ModuleType:
    """Import a module that the user named, from the working folder if it is nowhere else.

    Raises:
        ImportError: There is no such module, or it cannot be imported.
    """
    if (here := os.getcwd()) not in sys.path:
        sys.path.append(here)
    return importlib.import_module(name)


def file_of(name: str) -> Path | None:
    """The file that the import of a module would run, found without running any; None where there is none.

    A package's is its ``__init__.py``; one without has none. The working folder is looked in last.
    """
    places: list[str] | None = [*sys.path, os.getcwd()]
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        if places is None:  # the part before is a module, not a package
            return None
        spec = _found(".".join(parts[:end]), places, top=end == 1)
        if spec is None:
            return None
        places = None if spec.submodule_search_locations is None else [*spec.submodule_search_locations]
    return Path(spec.origin).resolve() if spec is not None and spec.has_location and spec.origin else None


def is_projects(name: str) -> bool:
    """Whether a module belongs to this project, and its file does: another one of that name does not."""
    own = (*PACKAGES, "examples") if (PROJECT / "pyproject.toml").is_file() else PACKAGES
    first = name.partition(".")[0]
    file = file_of(name) if first in own else None
    return file is not None and file.is_relative_to(PROJECT / first)


def _found(name: str, places: list[str], *, top: bool) -> ModuleSpec | None:
    for finder in sys.meta_path:
        spec = finder.find_spec(name, places if finder is PathFinder or not top else None)
        if spec is not None:
            return spec
    return None
