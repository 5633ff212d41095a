"""Hashes and random generators that are the same on every machine and in every process."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np


def hash_bytes(*parts: bytes) -> str:
    """SHA-256 of the parts, each preceded by its length so that borders count. Hex, 64 digits."""
    return _hash_stream(parts)


def hash_json(value: Any) -> str:
    """SHA-256 of a value's canonical JSON (sorted keys, no blanks, no NaN). Hex, 64 digits.

    Raises:
        ValueError: The value holds NaN or an infinity, which have no JSON.
        TypeError: The value holds something that JSON does not know.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hash_bytes(text.encode())


def hash_lines(lines: Iterable[str]) -> str:
    """SHA-256 of a sequence of strings, names that are not UTF-8 among them, in its order. Hex, 64 digits."""
    return _hash_stream(line.encode(errors="surrogatepass") for line in lines)


def _hash_stream(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def hash_code(*modules: str) -> str:
    """Sha256 of modules' source text, for fingerprints: a dataset is built again when its reader changes.

    Raises:
        ValueError: A module has no source file.
    """
    texts = []
    for module in modules:
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            raise ValueError(f"module {module} has no source file to hash")
        texts.append(Path(spec.origin).read_bytes().replace(b"\r\n", b"\n"))
    return hash_bytes(*texts)


def item_generator(seed: int, item_id: str) -> np.random.Generator:
    """A generator of an item's own, so that neither order nor the number of workers changes its numbers.

    Args:
        seed: The dataset's seed.
        item_id: The item's id within its source.
    """
    digest = hashlib.sha256(f"{seed}\0{item_id}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
