"""Storage of an index in a folder that a crash cannot spoil and a flipped bit cannot hide in.

``manifest.json`` names a subfolder with the data and the size and SHA-256 of each file in it, and ends with
its own checksum. Saving writes a new subfolder, forces it to the disk and then replaces the manifest by
renaming: who opens the folder sees the old content or the new, whole. No pickle: JSON, NumPy arrays,
safetensors and faiss's format.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError

Content = TypeVar("Content")
SCHEMA = 1
MANIFEST = "manifest.json"


class NotSavedError(ValueError):
    """The disk does not take an index; the message is one line with the folder and the reason."""

    reason: str

    def __init__(self, folder: Path, error: Exception) -> None:
        if isinstance(error, NotSavedError):  # of an index within this one
            self.reason = error.reason
        else:
            named = isinstance(error, OSError) and error.strerror
            self.reason = str(named or (str(error).splitlines() or [type(error).__name__])[-1])
        kept = (
            "the index that it held is as it was" if (folder / MANIFEST).exists() else "nothing is left there"
        )
        free = shutil.disk_usage(folder).free / 1e6
        super().__init__(
            f"{folder}: cannot save the index ({self.reason}; {free:,.0f} MB are free on the disk); {kept}"
        )


def save_folder(folder: Path, write: Callable[[Path], None], header: dict[str, Any]) -> None:
    """Replaces the content of an index folder at one blow.

    Args:
        folder: Made if it is not there.
        write: Puts the files into the empty folder that it is given; they may lie in folders of it.
        header: Settings and sizes, JSON.

    Raises:
        ValueError: If the folder holds something that is no index, or cannot be made.
        NotSavedError: If the disk does not take the files. What the folder held is whole then.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        others = [entry.name for entry in folder.iterdir() if not _ours(entry.name)]
    except OSError as error:
        reason = "a file is there" if folder.is_file() else str(error.strerror)
        raise ValueError(f"{folder}: cannot save an index there ({reason}); choose another folder") from error
    if others:
        raise ValueError(f"{folder} holds other files than an index: choose an empty or a new folder")
    with _one_writer(folder):
        data, beside = folder / f"data-{secrets.token_hex(8)}", folder / f"{MANIFEST}.new"
        try:
            data.mkdir()
            write(data)
            files = {}
            for path in sorted(data.rglob("*")):
                _sync(path)
                if path.is_file():
                    name = path.relative_to(data).as_posix()
                    files[name] = {"bytes": path.stat().st_size, "sha256": _sha256(path)}
            _sync(data)
            manifest = {"schema": SCHEMA, "data": data.name, "files": files, "header": header}
            beside.write_bytes(_manifest_bytes(manifest))
            _sync(beside)
            os.replace(beside, folder / MANIFEST)
        except (OSError, RuntimeError, SafetensorError, NotSavedError) as error:  # faiss's is a RuntimeError
            shutil.rmtree(data, ignore_errors=True)
            beside.unlink(missing_ok=True)
            raise NotSavedError(folder, error) from error
        _sync(folder)
        for entry in folder.iterdir():  # what was replaced, and what writers that were killed left
            if entry.name.startswith("data-") and entry != data:
                shutil.rmtree(entry)


def read_folder(
    folder: Path, read: Callable[[dict[str, Any], Path], Content], *, verify: bool = True
) -> Content:
    """Checks an index folder and reads it; where someone saves meanwhile, the new content is read.

    Args:
        folder: Written by `save_folder`.
        read: Gets the header and the folder of the files.
        verify: Read every file and compare its checksum; sizes alone otherwise.

    Returns:
        What ``read`` returned.

    Raises:
        ValueError: If there is no manifest, it is of a newer schema, or a file is missing or damaged (which).
    """
    path = folder / MANIFEST
    while True:
        if not path.exists():
            raise ValueError(f"no index in {folder}: it has no {MANIFEST}")
        content = path.read_bytes()
        manifest = _parsed(path, content)
        data = folder / manifest["data"]
        try:
            _compare(data, manifest["files"], verify=verify)
            return read(manifest["header"], data)
        except (ValueError, OSError, RuntimeError):  # RuntimeError: faiss finds no file
            if path.read_bytes() == content:
                raise


def _parsed(path: Path, content: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(content)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: it is no JSON; restore the folder from a copy") from error
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        raise ValueError(f"{path} has schema {schema}, this version reads up to {SCHEMA}: update the package")
    if not isinstance(manifest, dict) or content != _manifest_bytes(manifest):
        raise ValueError(f"{path} is damaged: its checksum differs; restore the folder from a copy")
    return manifest


def _compare(data: Path, files: dict[str, Any], *, verify: bool) -> None:
    for name, wanted in files.items():
        file = data / name
        size = file.stat().st_size if file.exists() else None
        if size != wanted["bytes"] or (verify and _sha256(file) != wanted["sha256"]):
            state = "missing" if size is None else "damaged: its size or checksum differs"
            raise ValueError(f"{file} is {state}; restore the folder from a copy")


def _manifest_bytes(manifest: dict[str, Any]) -> bytes:
    """The manifest's only spelling, so that any changed byte shows."""
    rest = {key: value for key, value in manifest.items() if key != "sha256"}
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
    return json.dumps(rest | {"sha256": digest}, sort_keys=True, indent=1).encode()


def _ours(name: str) -> bool:
    return name in (MANIFEST, f"{MANIFEST}.new", ".lock") or name.startswith("data-")


@contextmanager
def _one_writer(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # let go by the system when the process ends, however it ends
        yield


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
