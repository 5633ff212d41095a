"""Files that a mesh file names, such as images and material libraries, kept below the root."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote


class UnreadableLink(Exception):
    """A named file that cannot be had. The message says why, in a few words."""


def read_linked(path: Path, name: str, root: Path) -> bytes:
    """Bytes of the file that a mesh file names.

    Args:
        path: The mesh file.
        name: Name relative to the mesh file's folder, with slashes or backslashes between folders; one with
            percent escapes is unescaped where no file has the name as it stands.
        root: Folder that the named file must lie below, links followed.

    Raises:
        UnreadableLink: No such file, one outside the root, or one that cannot be read.
    """
    try:
        return find_linked(path, name, root).read_bytes()
    except OSError as error:
        raise UnreadableLink(f"{name!r} cannot be read: {error.strerror}") from error


def find_linked(path: Path, name: str, root: Path) -> Path:
    """The file that a mesh file names; for arguments and errors see `read_linked`."""
    plain = name.replace("\\", "/")
    for spelling in dict.fromkeys([plain, unquote(plain)]):
        if "\0" in spelling:
            continue
        try:
            file = (path.parent / spelling).resolve()
            if not file.is_relative_to(root.resolve()):
                raise UnreadableLink(f"{name!r} leaves the root")
            if file.is_file():
                return file
        except OSError as error:
            raise UnreadableLink(f"{name!r} cannot be read: {error.strerror}") from error
    raise UnreadableLink(f"no file {name!r}")
