"""Plan of a build: which items make up which shard, and which part of a build reads which shards."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from align3d.errors import DataError
from align3d.hashing import hash_lines
from align3d.sources import Item
from durable.checksums import checked_json, write_json
from durable.whole_files import remove

PLAN = "plan.json"
_LEAST, _MOST, _SHARDS = 128, 4096, 64
"""Items of a shard, at least and at most, and number of shards between these."""
_CLOUDS, _POINT = 64 * 2**20, 11
"""Bytes of the clouds of a shard, which is held in memory, at most; bytes of a point with color and part."""
_PART = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")


@dataclass(frozen=True)
class Part:
    """One of the parts into which a build is spread over machines.

    Attributes:
        number: Which one, from 1.
        count: How many there are.
    """

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def folder(self) -> str:
        """Name of the folder that holds it."""
        return f"part-{self.number:05d}-of-{self.count:05d}"

    @staticmethod
    def parse(text: str) -> Part:
        """The part that ``3/64`` stands for.

        Raises:
            DataError: It stands for none.
        """
        found = _PART.fullmatch(text.strip())
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise DataError(f"shard={text}: expected which part of how many, such as 1/64 to 64/64")
        return Part(int(found[1]), int(found[2]))


def shards_of(items: Sequence[Item], name: str, points: int) -> dict[int, Sequence[Item]]:
    """Items by shard; a shard's size depends on the number of items and of their points alone.

    Raises:
        DataError: There are none, or two have the same id.
    """
    if not items:
        raise DataError(f"data={name}: nothing to read; check the source's settings")
    known: set[str] = set()
    for item in items:
        if item.id in known:
            raise DataError(f"data={name}: two items have the id {item.id!r}, expected each once")
        known.add(item.id)
    size = shard_size(len(items), points)
    starts = range(0, len(items), size)
    return {index: items[start : start + size] for index, start in enumerate(starts)}


def shard_size(items: int, points: int) -> int:
    """Items of a shard, by their number in all and the points of each."""
    most = min(_MOST, max(_LEAST, _CLOUDS // (points * _POINT)))
    return min(max(_LEAST, math.ceil(items / _SHARDS)), most)


def dealt(shards: Mapping[int, Sequence[Item]], part: Part) -> dict[int, Sequence[Item]]:
    """Those of the shards that a part reads: of N parts, every N-th one."""
    return {index: items for index, items in shards.items() if index % part.count == part.number - 1}


def plan_of(key: str, items: Sequence[Item]) -> dict[str, Any]:
    """What is written down of a build that has begun: what it makes, and of which items."""
    return {"key": key, "items": hash_lines(item.id for item in items)}


def prepare(partial: Path, plan: Mapping[str, Any]) -> None:
    """A folder for the shards; what another build left there is removed."""
    if read_plan(partial) != plan:
        remove(partial)
        write_json(partial / PLAN, dict(plan))


def read_plan(partial: Path) -> dict[str, Any]:
    """What a build began to write in a folder; nothing if nobody can tell."""
    path = partial / PLAN
    try:
        return checked_json(path, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
