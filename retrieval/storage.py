"""Storage of an index in a folder that a crash cannot spoil and a flipped bit cannot hide in.

``manifest.json`` names a subfolder with the data and the size and SHA-256 of each file in it, and carries its
own checksum. Saving writes a new subfolder, forces it to the disk and then replaces the manifest by renaming:
who opens the folder sees the old content or the new, whole. No pickle: JSON, NumPy arrays and safetensors.

A checksum says that a file is what somebody wrote, not that it can be trusted: who reads the files checks
every number that is to index something, with `StoredArrays` and `open_rows`.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import re
import secrets
import struct
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from durable.checksums import check_files, checked_json, file_facts, json_bytes
from durable.disk_space import free_bytes, megabytes, no_space_reason
from durable.errors import DamagedFileError, UserError
from durable.file_lock import locked
from durable.whole_files import PARTIAL, remove, sync, sync_tree, write_bytes

Content = TypeVar("Content")
SCHEMA = 2
MANIFEST = "manifest.json"
LOCK = ".lock"
WRITER = ".writer"
"""Lock file of a process that changes what the folder holds, for as long as it does."""
_DATA = re.compile(r"data-[0-9a-f]{16}")
_LONGEST_MANIFEST = 2**20  # bytes; they have 2,000
_LONGEST_HEADER = 256  # characters of an array's file; they have 80
_ARRAY_HEADER = re.compile(
    r"\{'descr': '([<>|][a-z]\d{1,2})', 'fortran_order': (True|False), 'shape': \(([\d, ]*)\), \} *\n"
)


class NotSavedError(UserError):
    """The disk does not take an index; the message is one line with the folder and the reason."""

    reason: str

    def __init__(self, folder: Path, error: BaseException, need: int | None) -> None:
        if isinstance(error, NotSavedError):  # of an index within this one
            self.reason = error.reason
        else:
            named = no_space_reason(error) or (isinstance(error, OSError) and error.strerror)
            self.reason = str(named or (str(error).splitlines() or [type(error).__name__])[-1])
        parts = [self.reason]
        if need is not None:
            parts.append(f"{megabytes(need)} are needed")
        if (free := free_bytes(folder)) is not None:
            parts.append(f"{megabytes(free)} are free")
        kept = (
            "the index that it held is as it was" if (folder / MANIFEST).exists() else "nothing is left there"
        )
        super().__init__(f"{folder}: cannot save the index ({', '.join(parts)}); {kept}")


def save_folder(
    folder: Path,
    write: Callable[[Path], None],
    header: dict[str, Any],
    need: int | None = None,
    listed: Callable[[str], bool] = lambda name: True,
) -> Path:
    """Replaces the content of an index folder at one blow.

    What writers that were killed have left is removed first, so that it takes no room from this one.

    Args:
        folder: Made if it is not there.
        write: Puts the files into the empty folder that it is given; they may lie in folders of it.
        header: Settings and sizes, JSON.
        need: Bytes that it takes, about, if that is known.
        listed: Whether the manifest has the checksum of a file, by its name in the folder. One that has
            others' checksums, or is appended to later, sees to these itself.

    Returns:
        The folder of the files.

    Raises:
        ValueError: If the folder holds something that is no index, or cannot be made.
        NotSavedError: If the disk does not take the files. What the folder held is whole then.
        LockError: If the file system knows no locks.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        others = [entry.name for entry in folder.iterdir() if not _ours(entry.name)]
    except OSError as error:
        reason = "a file is there" if folder.is_file() else str(error.strerror)
        raise ValueError(f"{folder}: cannot save an index there ({reason}); choose another folder") from error
    if others:
        raise ValueError(f"{folder} holds other files than an index: choose an empty or a new folder")
    with locked(folder / LOCK, advice="save the index on another file system, and copy it"):
        data = folder / f"data-{secrets.token_hex(8)}"
        kept = _named_data(folder)
        if kept is not None or not (folder / MANIFEST).exists():  # a damaged one may be restored from a copy
            _clear(folder, kept)
        try:
            data.mkdir()
            write(data)
            found = (path.relative_to(data).as_posix() for path in data.rglob("*") if path.is_file())
            names = sorted(name for name in found if listed(name))
            sync_tree(data)
            manifest = {"schema": SCHEMA, "data": data.name, "files": file_facts(data, names)}
            write_bytes(folder / MANIFEST, json_bytes(manifest | {"header": header}))
        except (OSError, RuntimeError, SafetensorError, UserError) as error:  # faiss's is a RuntimeError
            remove(data)
            raise NotSavedError(folder, error, need) from error
        except BaseException:  # such as an interruption
            remove(data)
            raise
        _clear(folder, data.name)
        sync(folder)
    return data


def read_folder(
    folder: Path, read: Callable[[dict[str, Any], Path], Content], *, verify: bool | Collection[str] = True
) -> Content:
    """Checks an index folder and reads it; where someone saves meanwhile, the new content is read.

    Args:
        folder: Written by `save_folder`.
        read: Gets the header and the folder of the files.
        verify: Read every file, or those of these names, and compare checksums; sizes alone otherwise.

    Returns:
        What ``read`` returned.

    Raises:
        ValueError: If there is no manifest, it is of a newer schema, or a file is missing or damaged (which).
    """
    path = folder / MANIFEST
    while True:
        content = _manifest_bytes(path)
        try:
            manifest = _parsed(path, content)
            data = folder / manifest["data"]
            files, some = manifest["files"], () if isinstance(verify, bool) else verify
            check_files(data, files, verify=verify is True)
            check_files(data, {name: files[name] for name in some if name in files})
            return read(manifest["header"], data)
        except MemoryError as error:
            raise ValueError(f"{folder}: the index does not fit into memory") from error
        except (ValueError, OSError, RuntimeError) as error:
            if _manifest_bytes(path) == content:
                if isinstance(error, ValueError) and str(folder) in str(error):
                    raise
                raise DamagedFileError(f"{folder} cannot be read ({error})") from error
        except (LookupError, TypeError, AttributeError, ArithmeticError) as error:
            raise DamagedFileError(f"{path} describes no index ({type(error).__name__}: {error})") from error


class StoredArrays:
    """The arrays of a safetensors file, each checked when it is taken: who has them may index with them.

    Attributes:
        path: Of the file, for messages.
        arrays: By name.
    """

    def __init__(self, path: Path, arrays: Mapping[str, NDArray[Any]] | None = None) -> None:
        """Takes arrays.

        Args:
            path: Of the file.
            arrays: By name; None reads the file.

        Raises:
            DamagedFileError: If the file is none.
        """
        self.path = path
        try:
            self.arrays = load_file(path) if arrays is None else arrays
        except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise DamagedFileError(f"{path} is damaged: it holds no arrays ({error})") from error

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def take(
        self,
        name: str,
        dtype: DTypeLike,
        shape: tuple[int | None, ...],
        least: float | None = None,
        most: float | None = None,
    ) -> NDArray[Any]:
        """An array.

        Args:
            name: Its name.
            dtype: Its type.
            shape: Its shape, None for any size.
            least: Smallest value, inclusive; with it, NaN is refused.
            most: Largest value, inclusive; with it, NaN is refused.

        Raises:
            DamagedFileError: It is missing, or something is different.
        """
        array = self.arrays.get(name)
        self.expect(array is not None, f"it has no {name}")
        assert array is not None
        fits = array.ndim == len(shape) and all(
            wanted in (None, size) for wanted, size in zip(shape, array.shape, strict=True)
        )
        expected = f"{np.dtype(dtype)} {list(shape)}".replace("None", "any")
        self.expect(
            fits and array.dtype == np.dtype(dtype),
            f"{name} is {array.dtype} {list(array.shape)}, expected {expected}",
        )
        if array.size:
            low, high = array.min(), array.max()
            self.expect(least is None or bool(low >= least), f"{name} has {low}, expected {least} or more")
            self.expect(most is None or bool(high <= most), f"{name} has {high}, expected {most} or less")
        return array

    def expect(self, holds: bool, fault: str) -> None:
        """Raises a DamagedFileError that names the file and the fault if something does not hold."""
        if not holds:
            raise DamagedFileError(f"{self.path} is damaged: {fault}")


def open_rows(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> NDArray[Any]:
    """An array in NumPy's format under a memory map that is only read.

    Args:
        path: Of the file.
        dtype: Its type.
        shape: Its shape.

    Raises:
        DamagedFileError: The file is not that array.
    """
    kind = np.dtype(dtype)
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            found = _array_header(file)
            start, size = file.tell(), path.stat().st_size
    except (OSError, ValueError, TypeError, struct.error) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DamagedFileError(f"{path} is damaged: it is no array ({reason})") from error
    wanted = start + kind.itemsize * math.prod(shape)
    if version != (1, 0) or found != (shape, False, kind) or size != wanted:
        raise DamagedFileError(
            f"{path} is damaged: it is {found[2]} {list(found[0])} in {size:,} bytes, expected {kind} "
            f"{list(shape)}"
        )
    if not size - start:
        return np.empty(shape, kind)
    return np.memmap(path, kind, "r", start, shape)


def mapping_of(array: NDArray[Any]) -> mmap.mmap | None:
    """The memory map of a file that an array is a view of; None where it lies in memory."""
    base: Any = array
    while base is not None and not isinstance(base, mmap.mmap):
        base = base.obj if isinstance(base, memoryview) else getattr(base, "base", None)
    return base


def expect_random(array: NDArray[Any]) -> None:
    """Has the system read single pages of an array's file, where it would read megabytes around each.

    Does nothing for arrays in memory, and where the system takes no such advice.
    """
    mapping = mapping_of(array)
    if mapping is not None and hasattr(mmap, "MADV_RANDOM"):
        mapping.madvise(mmap.MADV_RANDOM)


def expect_passes(array: NDArray[Any]) -> None:
    """Takes back what `expect_random` said, before most of an array's file is read."""
    mapping = mapping_of(array)
    if mapping is not None and hasattr(mmap, "MADV_NORMAL"):
        mapping.madvise(mmap.MADV_NORMAL)


def fetch(array: NDArray[Any], ranges: Iterable[tuple[int, int]]) -> None:
    """Has the system read rows of an array ``[N, D]`` from its file, all of them at once.

    It begins at once and waits for nothing; see `expect_random` for where it does nothing.

    Args:
        array: A view of a file, or any other.
        ranges: First and last row of each range, inclusive.
    """
    mapping = mapping_of(array)
    if mapping is None or not hasattr(mmap, "MADV_WILLNEED"):
        return
    begin, size = array.ctypes.data - np.frombuffer(mapping, np.uint8).ctypes.data, array.strides[0]
    for first, last in ranges:
        start = begin + int(first) * size
        start -= start % mmap.PAGESIZE
        mapping.madvise(mmap.MADV_WILLNEED, start, begin + (int(last) + 1) * size - start)


def _array_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type of an array in NumPy's format, as NumPy writes them.

    NumPy parses the header as Python, which allows more, and fails at times where several threads do so at
    once (in CPython 3.11: "AST constructor recursion depth mismatch").
    """
    (size,) = struct.unpack("<H", file.read(2))
    if size > _LONGEST_HEADER:
        raise ValueError(f"its header has {size} bytes")
    found = _ARRAY_HEADER.fullmatch(file.read(size).decode("latin-1"))
    if found is None:
        raise ValueError("its header is none")
    shape = tuple(int(length) for length in found[3].replace(",", " ").split())
    return shape, found[2] == "True", np.dtype(found[1])


def _manifest_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise ValueError(f"no index in {path.parent}: it has no {MANIFEST}")
    size = path.stat().st_size
    if size > _LONGEST_MANIFEST:
        raise DamagedFileError(f"{path} is damaged: {size:,} bytes; restore the folder from a copy")
    return path.read_bytes()


def _parsed(path: Path, content: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"{path} is damaged: it is no JSON; restore the folder from a copy") from error
    if not isinstance(manifest, dict):
        raise DamagedFileError(f"{path} is damaged: it is no JSON object; restore the folder from a copy")
    schema = manifest.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise ValueError(f"{path} has schema {schema}, this version reads up to {SCHEMA}: update the package")
    if schema == 1:
        plain = {name: value for name, value in manifest.items() if name != "sha256"}
        right = content == _first_schema(plain)
    else:
        plain = checked_json(path, manifest)
        right = content == json_bytes(plain)
    if not right:
        raise DamagedFileError(f"{path} is damaged: its checksum differs; restore the folder from a copy")
    files, data = plain.get("files"), plain.get("data")
    named = isinstance(files, dict) and all(
        isinstance(facts, dict) and {"bytes", "sha256"} <= set(facts) and _within(name)
        for name, facts in files.items()
    )
    if not (named and isinstance(data, str) and _DATA.fullmatch(data) and isinstance(plain["header"], dict)):
        raise DamagedFileError(f"{path} describes no index; restore the folder from a copy")
    return plain


def _within(name: str) -> bool:
    """Whether a name is that of a file below the folder."""
    return not name.startswith("/") and "\0" not in name and ".." not in name.split("/")


def _first_schema(manifest: dict[str, Any]) -> bytes:
    """A manifest of the first schema in its only spelling."""
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    return json.dumps(manifest | {"sha256": digest}, sort_keys=True, indent=1).encode()


def _named_data(folder: Path) -> str | None:
    """The subfolder that a folder's manifest names; None where it has none that can be read."""
    try:
        found = _parsed(folder / MANIFEST, _manifest_bytes(folder / MANIFEST))["data"]
    except (ValueError, OSError, KeyError):
        return None
    return str(found)


def _clear(folder: Path, kept: str | None) -> None:
    """Removes what was replaced, and what writers that were killed left."""
    for entry in folder.iterdir():
        if entry.name != kept and entry.name not in (MANIFEST, LOCK, WRITER):
            remove(entry)


def _ours(name: str) -> bool:
    ours = name in (MANIFEST, f"{MANIFEST}.new", LOCK, WRITER) or name.startswith(PARTIAL)
    return ours or bool(_DATA.fullmatch(name))
