"""Names of the files below a folder, and which of them a path in a captions file means."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from functools import cached_property
from pathlib import Path, PurePosixPath


class FileNames:
    """The files below a root, hidden ones aside.

    Args:
        root: Folder that is listed, with all folders in it; links to folders are not followed.

    Attributes:
        names: Paths relative to the root, as the disk spells them, sorted.
        unlisted: Folders that cannot be listed, with the reason.
    """

    def __init__(self, root: Path) -> None:
        self.unlisted: dict[str, str] = {}
        found = []

        def note(error: OSError) -> None:
            folder = Path(str(error.filename)).relative_to(root).as_posix()
            self.unlisted[valid_unicode(folder)] = str(error.strerror)

        for folder, names, files in os.walk(root, onerror=note):
            names[:] = [name for name in names if not name.startswith(".")]
            relative = Path(folder).relative_to(root)
            found += [(relative / name).as_posix() for name in files if not name.startswith(".")]
        self.names = sorted(found)
        self._known = frozenset(found)

    def find(self, path: str) -> str | None:
        """The file that a path means: that of its name, else that of its name in another normal form."""
        if path in self._known:
            return path
        return self._composed.get(path)

    def id_of(self, name: str) -> str:
        """Name for a file that is the same on every machine: in normal form C, and valid Unicode."""
        shown = _composed(valid_unicode(name))
        if shown == name or shown not in self._known:
            return shown
        return f"{valid_unicode(name)} (not UTF-8)" if valid_unicode(name) != name else name

    def fault(self, name: str) -> str:
        """What is wrong with the name of a file, empty where nothing is."""
        if (shown := valid_unicode(name)) != name:
            return f"file name is not UTF-8: {shown}; rename the file"
        if _composed(name) != name and _composed(name) in self._known:
            return (
                "file name that differs from another one in Unicode's normal form alone; rename one of them"
            )
        return ""

    def hint(self, path: str) -> str:
        """``"; did you mean X?"`` where a file has almost this path or, in another folder, this name."""
        near = self._loose.get(_loosened(path)) or self._by_name.get(PurePosixPath(path).name)
        near = near or self._by_name.get(PurePosixPath(path).stem)
        if near is None:
            return ""
        why = " (its name is not UTF-8)" if valid_unicode(near) != near else ""
        why = why or (" (its name has a backslash; rename it)" if "\\" in near else "")
        return f"; did you mean {valid_unicode(near)}{why}?"

    @cached_property
    def _composed(self) -> dict[str, str]:
        """Names by their normal form C."""
        return {_composed(name): name for name in reversed(self.names)}

    @cached_property
    def _loose(self) -> dict[str, str]:
        """Names without letter case, doubled blanks and kinds of slashes."""
        return {_loosened(name): name for name in reversed(self.names)}

    @cached_property
    def _by_name(self) -> dict[str, str]:
        """Names by their last part, with and without suffix, where only one file has it."""
        parts = [
            (key, name) for name in self.names for key in {PurePosixPath(name).name, PurePosixPath(name).stem}
        ]
        times = Counter(key for key, _ in parts)
        return {_composed(key): name for key, name in parts if times[key] == 1}


def valid_unicode(name: str) -> str:
    r"""Make a file's name valid Unicode: bytes that are not UTF-8 become ``\xe9``."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _loosened(name: str) -> str:
    if valid_unicode(name) != name:
        name = name.encode(errors="surrogateescape").decode("cp1252", errors="replace")
    return " ".join(unicodedata.normalize("NFKC", name).replace("\\", "/").casefold().split())
