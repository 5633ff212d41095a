"""Bytes of a built folder, for comparison."""

from __future__ import annotations

from pathlib import Path


def contents(folder: Path, but: str = "") -> dict[str, bytes]:
    """Every file below a folder, by its path, but those of one name."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != but)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
