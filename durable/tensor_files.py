"""Safetensors files that carry their own checksum, in the metadata of their header.

The checksum is that of the whole file with zeros in place of its digits, so that one rename puts tensors,
metadata and checksum in their place.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from durable.checksums import CHECKSUM
from durable.errors import DamagedFileError
from durable.whole_files import replacing

_BLANK = "0" * 64
_PLACE = re.compile(rb'"%s":"([0-9a-f]{64})"' % CHECKSUM.encode())
_LENGTH = 8
"""Bytes that say how long the header is."""
_BLOCK = 2**20


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors with a checksum, whole or not at all.

    Args:
        path: A file, old or new; its folder is made if it is missing.
        tensors: By name, of any device.
        metadata: Words that are kept with them.

    Raises:
        NoSpaceError: The disk does not take it.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    need = sum(tensor.numel() * tensor.element_size() for tensor in plain.values())
    with replacing(path, need) as beside:
        save_file(plain, beside, metadata={**(metadata or {}), CHECKSUM: _BLANK})
        with beside.open("r+b") as file:
            _sort_words(file)
            digest, _, place = _digest(file)
            file.seek(place)
            file.write(digest.encode())


def read_tensors(path: Path, device: str = "cpu") -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by name, and the words that are kept with them, once the checksum has been compared.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedFileError: It was cut or changed, or has no checksum.
    """
    metadata = check_tensors(path)
    return load_file(path, device=device), metadata


def check_tensors(path: Path) -> dict[str, str]:
    """Compare a file with its checksum; the words that are kept with its tensors.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedFileError: It was cut or changed, or has no checksum.
    """
    with path.open("rb") as file:
        found, noted, _ = _digest(file)
    if not noted or found != noted:
        state = "its checksum differs" if noted else "it has no checksum"
        raise DamagedFileError(f"{path} is damaged: {state}")
    try:
        with safe_open(path, framework="pt") as opened:
            metadata = dict(opened.metadata() or {})
    except SafetensorError as error:  # whole, and yet no tensors: not written here
        raise DamagedFileError(f"{path} is damaged: {error}") from error
    del metadata[CHECKSUM]
    return metadata


def _sort_words(file: BinaryIO) -> None:
    """Bring the metadata, which safetensors writes in any order, into one: equal content is equal bytes."""
    size = int.from_bytes(file.read(_LENGTH), "little")
    header = json.loads(file.read(size))
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    if len(text) <= size:  # the same but for the order, unless the two spell a character otherwise
        file.seek(_LENGTH)
        file.write(text.ljust(size))


def _digest(file: BinaryIO) -> tuple[str, str, int]:
    """The checksum of an opened file, the one that it carries (empty if none), and where that is."""
    file.seek(0)
    start = file.read(_LENGTH)
    size = int.from_bytes(start, "little")
    header = file.read(size) if size < file.seek(0, 2) and file.seek(_LENGTH) else b""
    match = _PLACE.search(header)
    if match is None:
        return "", "", 0
    digest = hashlib.sha256(start + header[: match.start(1)] + _BLANK.encode() + header[match.end(1) :])
    while block := file.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest(), match[1].decode(), _LENGTH + match.start(1)
