"""Check of a run folder for links that lead out of it, which commands would write through."""

from __future__ import annotations

import os
from pathlib import Path

from durable.errors import UserError


def check_links(folder: Path) -> None:
    """Refuse a folder in which something leads elsewhere, or is neither a file nor a folder.

    The folder may itself be reached by a link.

    Raises:
        UserError: There is such an entry; the first is named.
    """
    root = folder.resolve()
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                path = Path(entry.path)
                if entry.is_symlink():
                    if not _leads_into(root, path):
                        raise UserError(
                            f"{path}: a link that leads out of the folder; put a copy in its place"
                        )
                elif entry.is_dir():
                    waiting.append(path)
                elif not entry.is_file():
                    raise UserError(f"{path}: neither a file nor a folder; remove it")


def _leads_into(root: Path, link: Path) -> bool:
    try:
        return link.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # it leads in a circle
        return False
