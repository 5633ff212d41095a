"""Machine code of compiled functions on disk: of one owner, with a checksum, made anew where it is damaged.

What is kept is code that runs, and pickled objects. It lies in a folder that only its owner may write to, and
each file has its checksum in its name. Numba decides what is kept, for which arguments, and where: in
``NUMBA_CACHE_DIR``, else beside the source, else in the user's cache. The folder here is within that; where
others may write to it, in the user's cache.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import pickle
import stat
import sys
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache, UserWideCacheLocator
from numba.core.serialize import dumps

from durable.checksums import find_named, set_aside, write_named
from durable.errors import UserError

FOLDER = "kernels"
SUFFIX = ".kernel"


class KernelCache(FunctionCache):
    """Numba's cache of one function, with files of ours.

    Args:
        function: The Python function.
        stamp: What it was made from; machine code with another one is not used.

    Raises:
        RuntimeError: There is no folder to keep it in.
    """

    def __init__(self, function: Any, stamp: str) -> None:
        super().__init__(function)
        users = UserWideCacheLocator(function, inspect.getfile(function)).get_cache_path()
        self.folder = own_folder(Path(self._cache_path) / FOLDER, Path(users) / FOLDER)
        self.files = KernelFiles(self.folder, self._impl.filename_base, stamp)
        self._cache_file: Any = self.files  # what Numba saves to, and loads from

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function for a signature; None where it is to be compiled."""
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # of Numba's, of pickle's, of LLVM's: all that it takes is to compile
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            if not self.files.set_last_aside(reason):
                tell(f"{self.folder}: machine code cannot be read ({reason}), made anew")
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled function, where there is room for it."""
        try:
            super().save_overload(sig, data)
        except (OSError, UserError) as error:
            tell(f"{self.folder}: machine code is not kept ({error})")


class KernelFiles:
    """Files with the machine code of one function, by its arguments and the machine.

    Args:
        folder: Where they are; there is one.
        name: First part of their names: of the function, its line and Python.
        stamp: What the function was made from.
    """

    def __init__(self, folder: Path, name: str, stamp: str) -> None:
        self.folder, self._name = folder, name
        self._head = f"{numba.__version__} {stamp}\n".encode()
        self._last: Path | None = None

    def load(self, key: Any) -> Any:
        """Object saved under a key; None where there is nothing, or it was made from something else."""
        self._last = None
        self._last = find_named(self.folder, self._stem(key), SUFFIX)
        try:
            content = self._last.read_bytes() if self._last else b""
        except FileNotFoundError:  # another process has just replaced it
            return None
        if not content.startswith(self._head):
            return None
        same, data = pickle.loads(content[len(self._head) :])
        return data if same == key else None

    def save(self, key: Any, data: Any) -> None:
        """Save something under a key."""
        content = self._head + dumps((key, data))

        def write(path: Path) -> None:
            path.write_bytes(content)

        write_named(self.folder, self._stem(key), SUFFIX, write, len(content))

    def flush(self) -> None:
        """Forget all that is saved."""
        for path in self.folder.glob(f"{self._name}.*{SUFFIX}"):
            path.unlink(missing_ok=True)

    def set_last_aside(self, reason: str) -> bool:
        """Move aside what was loaded last, and cannot be used; whether that went well."""
        if self._last is None:
            return False
        with suppress(OSError, UserError):
            set_aside(self._last, reason)
            return True
        return False

    def _stem(self, key: Any) -> str:
        return f"{self._name}.{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}"


@lru_cache
def own_folder(*folders: Path) -> Path:
    """The first of some folders, made if missing, that is this user's and that nobody else may write to.

    Raises:
        RuntimeError: None of them is. A line on stderr names those that others may write to.
    """
    for folder in folders:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = folder.stat()
        except OSError:
            continue
        if found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return folder
        tell(f"{folder}: others can write to it, so no machine code is kept there or taken from there")
    raise RuntimeError("no folder for machine code")


@lru_cache
def tell(line: str) -> None:
    """Print a line on stderr, once in a process."""
    print(line, file=sys.stderr, flush=True)
