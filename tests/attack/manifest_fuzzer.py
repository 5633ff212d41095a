"""Fuzzer of manifests and other JSON of a run, a dataset and a library, with checksums made anew.

A checksum keeps out what a disk does, not what a person does. Such a file may be refused in one line, or
believed: then other numbers are right. It must not end in a traceback, end the process or hang.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from align3d.hashing import hash_json
from durable.checksums import json_sha256
from tests.attack.attack import REFUSED, Attacker, Outcome
from tests.attack.forks import Reading
from tests.attack.victims import NEWEST

ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1,
    2**31,
    2**63,
    2**80,
    0.5,
    -0.0,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x",
    "../../outside",
    "/etc/passwd",
    "a\x00b",
    "\ud800",
    "\x1b[2J",
    [],
    [[]],
    {},
    {"a": 1},
    [0] * 1000,
)
"""Values that no program writes there."""


@dataclass(frozen=True)
class Manifest:
    """A kind of JSON file.

    Attributes:
        glob: Its files in a world.
        reader: That reads them.
    """

    glob: str
    reader: str


MANIFESTS = (
    Manifest("dataset/manifest.json", "dataset_verified"),
    Manifest("dataset/manifest.json", "rebuilt"),
    Manifest("dataset/manifest.json", "searched_dataset"),
    Manifest("cache/procedural-*/manifest.json", "corpus"),
    Manifest("unfinished.partial/*.json", "built"),
    Manifest("run/results.json", "searched"),
    Manifest("run/results.json", "finished"),
    Manifest("run/results.json", "reported"),
    Manifest("run/index.json", "tree"),
    Manifest(f"run/{NEWEST}/state.json", "searched"),
    Manifest(f"begun/{NEWEST}/state.json", "resumed"),
    Manifest("run/search/*/library.json", "searched"),
    Manifest("cache/warmups/*/step-*/state.json", "trained"),
)


def _sorted_sha256(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


_SUMS: tuple[tuple[str, Callable[[Any], str]], ...] = (
    ("checksum", json_sha256),
    ("checksum", hash_json),
    ("sha256", _sorted_sha256),
)


def sealed(content: Any, name: str | None, checksum: Callable[[Any], str]) -> bytes:
    """JSON with its checksum made anew, under ``name`` if it had one."""
    if name is not None and isinstance(content, dict):
        content = {key: value for key, value in content.items() if key != name}
        content[name] = checksum(content)
    return json.dumps(content, indent=1).encode()


def seal_of(content: Any) -> tuple[str | None, Callable[[Any], str]]:
    """The name of a file's checksum and how it is made; None for a file that has none."""
    for name, checksum in _SUMS:
        if isinstance(content, dict) and name in content:
            rest = {key: value for key, value in content.items() if key != name}
            if content[name] == checksum(rest):
                return name, checksum
    return None, json_sha256


def change(content: Any, draws: random.Random) -> tuple[Any, str]:
    """Changes a nested value in one place; the value, and what was done."""
    places = list(_places(content))
    holder, key = draws.choice(places)
    how = draws.choice(("odd", "odd", "odd", "drop", "twice", "swap"))
    if how == "odd":
        value = draws.choice(ODD)
        if isinstance(holder[key], int | float) and draws.random() < 0.5:
            value = holder[key] * draws.choice((-1, 2, 10**6)) + draws.choice((-1, 0, 1))
        holder[key] = value
        return content, f"{key} = {value!r}"[:120]
    if how == "drop":
        del holder[key]
    elif how == "twice" and isinstance(holder, list):
        holder.append(holder[key])
    elif how == "twice":
        holder[f"{key}_"] = holder[key]
    else:
        other, place = draws.choice(places)
        if key in (holder if isinstance(holder, dict) else range(len(holder))):
            holder[key] = json.loads(json.dumps(other[place]))
    return content, f"{how} {key}"


def _places(content: Any) -> Any:
    """Every place of a nested value, as its holder and its key; of long lists the first few."""
    keys = list(content) if isinstance(content, dict) else range(min(len(content), 8))
    for key in keys:
        yield content, key
        if isinstance(content[key], dict | list) and content[key]:
            yield from _places(content[key])


def fuzz(attacker: Attacker, manifest: Manifest, seed: int) -> Outcome:
    """Changes one file of a kind, with its checksum made anew, and reads it."""
    draws = random.Random(f"{manifest} {seed}")
    whole = attacker.whole(manifest.reader)
    copy = attacker.copied()
    path = draws.choice(sorted(copy.folder.glob(manifest.glob)))
    content = json.loads(path.read_text())
    name, checksum = seal_of(content)
    changed, words = change(content, draws)
    path.unlink()
    path.write_bytes(sealed(changed, name, checksum))
    reading = attacker.server.read(manifest.reader, copy)
    victim = path.relative_to(copy.folder)
    fault = _fault(reading)
    told = f"{victim}: {words}\n{reading.err[-1500:]}"
    if fault:
        return Outcome("WRONG", f"{words}: {fault}", victim, told)
    if reading.code == REFUSED:
        return Outcome("refused", "", victim, told)
    return Outcome("same" if reading.numbers == whole else "anew", "", victim, told)


def _fault(reading: Reading) -> str:
    """What no file may do to a program; empty where it did not."""
    last = (reading.err.strip().splitlines() or [""])[-1]
    if reading.code is None:
        return "it hangs"
    if reading.code < 0:
        return f"ended by signal {-reading.code}"
    if "Traceback (most recent call last)" in reading.err or reading.code not in (0, REFUSED):
        return f"a traceback: {last[:200]}"
    if reading.code == REFUSED and not last.startswith("error: "):
        return f"refused without a reason: {last[:200]}"
    return ""
