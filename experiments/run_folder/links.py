"""Check of a run folder for links that lead out of it, which commands would write through."""

from __future__ import annotations

from pathlib import Path

from durable.errors import UserError


def check_links(folder: Path, within: Path | None = None) -> None:
    """Refuse a folder in which something leads elsewhere, or is neither a file nor a folder.

    Args:
        folder: What is looked through, if it is there.
        within: Folder above it that links may lead into; None for the folder itself.

    Raises:
        UserError: There is such an entry; the first is named.
    """
    root = (folder if within is None else within).resolve()
    if within is not None:
        _check(folder, root)
    waiting = [folder] if folder.is_dir() else []
    while waiting:
        for path in sorted(waiting.pop().iterdir()):
            _check(path, root)
            if path.is_dir() and not path.is_symlink():
                waiting.append(path)


def _check(path: Path, root: Path) -> None:
    if path.is_symlink():
        if not _leads_into(root, path):
            raise UserError(f"{path}: a link that leads out of the folder; put a copy in its place")
    elif path.exists() and not path.is_dir() and not path.is_file():
        raise UserError(f"{path}: neither a file nor a folder; remove it")


def _leads_into(root: Path, link: Path) -> bool:
    try:
        return link.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # it leads in a circle
        return False
