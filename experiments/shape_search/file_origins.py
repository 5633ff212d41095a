"""Files that the shapes of a dataset come from, by their ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

_BELOW = ("", "3dmodels", "usr/share/kicad/3dmodels", "share/kicad/3dmodels", "kicad/3dmodels")
"""Folders below a source's root that ids may be relative to."""
_DEFAULT_ROOTS = {"kicad": "/usr/share/kicad"}


def files_of(ids: Sequence[str], root: Any, source: str) -> list[str]:
    """Path of each shape's file; its id, where the source has no files or they are gone.

    Args:
        ids: Of the shapes; a source of files takes paths below its root.
        root: The source's setting; None if it has none.
        source: Name of the source.
    """
    root = root or _DEFAULT_ROOTS.get(source)
    if not root or not ids:
        return list(ids)
    above = Path(str(root)).expanduser()
    for folder in (above, *(above / part for part in _BELOW[1:])):
        if (folder / ids[0]).is_file():
            return [str(folder / own) for own in ids]
    return list(ids)
