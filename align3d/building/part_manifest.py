"""Parts of a build that several machines read: what each says of itself, and how they are put together."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from align3d.building.plan import PLAN, Part
from align3d.building.shards import ShardResult, paths_of
from align3d.errors import DataError
from align3d.store import SCHEMA
from durable.checksums import check_files, checked_json, file_facts, write_json
from durable.errors import DamagedFileError
from durable.plain_data import typed
from durable.whole_files import link_or_copy, sync_tree

PART = "part.json"
_COMPARED = ("schema", "code", "source", "points", "seed", "fingerprint", "key", "items", "shards")
"""Facts that are the same for all parts of one build, in the order in which a difference is reported."""


@dataclass(frozen=True)
class PartManifest:
    """What a finished part says of itself and of the build to which it belongs.

    Attributes:
        part: Which part of how many.
        schema: Version of the layout.
        code: Hash of the code that builds.
        source: Name of the source.
        fingerprint: The source's own, with that of further stages.
        points: Number of points per shape.
        seed: Seed of the sampling.
        key: Hash of what the dataset is built from.
        items: Hash of the ids of all items of the build.
        shards: Number of shards of the build.
        read: Numbers of the shards that are in this part.
        files: Size and sha256 of the files of the part, by name.
        command: Command line that builds the whole dataset.
    """

    part: Part
    schema: int
    code: str
    source: str
    fingerprint: str
    points: int
    seed: int
    key: str
    items: str
    shards: int
    read: tuple[int, ...]
    files: dict[str, dict[str, Any]]
    command: str = ""

    def write(self, folder: Path) -> None:
        """Write ``part.json`` with a checksum of its own."""
        write_json(folder / PART, asdict(self))

    @staticmethod
    def read_from(folder: Path) -> PartManifest:
        """Read ``part.json`` of a folder.

        Raises:
            DataError: It is damaged, or of another version.
        """
        path = folder / PART
        try:
            content = checked_json(path, json.loads(path.read_text(encoding="utf-8")))
            if content.get("schema") != SCHEMA:
                raise DataError(
                    f"{path}: schema {content.get('schema')}, this version merges schema {SCHEMA}; "
                    "build it again"
                )
            return typed(PartManifest, content)
        except DamagedFileError as error:
            raise DataError(f"{error}; remove {folder} and build the part again") from error
        except (OSError, ValueError, AttributeError) as error:
            raise DataError(
                f"{path}: no part of a build ({error}); remove {folder} and build it again"
            ) from error


def finish_part(partial: Path, place: Path, manifest: PartManifest) -> None:
    """Put a part whose shards are all there in its place."""
    manifest.write(partial)
    sync_tree(partial)
    os.replace(partial, place)


def files_of(folder: Path, results: Mapping[int, ShardResult]) -> dict[str, dict[str, Any]]:
    """Size and sha256 of the files of finished shards, by name."""
    facts = {}
    for index, result in results.items():
        data, note = paths_of(folder, index)
        if result.file is not None:
            facts[data.name] = {"bytes": result.file.bytes, "sha256": result.file.sha256}
        facts |= file_facts(folder, [note.name])
    return facts


def find_parts(folder: Path) -> dict[Path, PartManifest]:
    """The parts in a folder, every one of a build and none twice.

    Raises:
        DataError: Something is missing, there twice, unfinished, or of another build; it is named.
    """
    places = sorted(path.parent for path in folder.glob(f"*/{PART}"))
    places = [path for path in places if not path.name.endswith(".partial")]
    begun = sorted(path.parent.name for path in folder.glob(f"*.partial/{PLAN}"))
    if not places:
        hint = f" ({begun[0]} is not finished: run its command again)" if begun else ""
        raise DataError(
            f"parts={folder}: no part of a build there{hint}; each is built by "
            f"python -m align3d.build source=NAME shard=1/64 {shlex.quote(f'out={folder}')}"
        )
    parts = {place: PartManifest.read_from(place) for place in places}
    _check_same(parts)
    of_number: dict[int, Path] = {}
    for place, manifest in parts.items():
        if (other := of_number.setdefault(manifest.part.number, place)) != place:
            raise DataError(f"part {manifest.part} is there twice: {other.name} and {place.name}; remove one")
    count = parts[places[0]].part.count
    missing = [number for number in range(1, count + 1) if number not in of_number]
    if missing:
        shown = ", ".join(f"{number}/{count}" for number in missing[:10]) + (", ..." if missing[10:] else "")
        state = f"; not finished: {', '.join(begun[:5])}" if begun else ""
        raise DataError(f"parts={folder}: {len(missing)} of {count} parts are missing: {shown}{state}")
    return {of_number[number]: parts[of_number[number]] for number in range(1, count + 1)}


def _check_same(parts: Mapping[Path, PartManifest]) -> None:
    """Refuse parts of different builds: the one that differs from most others is named, and in what."""
    for name in _COMPARED:
        values = {place: getattr(manifest, name) for place, manifest in parts.items()}
        _refuse_other(name, values)
    _refuse_other("shard=", {place: f"x/{manifest.part.count}" for place, manifest in parts.items()})


def _refuse_other(name: str, values: Mapping[Path, Any]) -> None:
    counts: dict[Any, int] = {}
    for value in values.values():
        counts[value] = counts.get(value, 0) + 1
    if len(counts) == 1:
        return
    most = max(counts, key=lambda value: counts[value])
    other = next(place for place, value in values.items() if value != most)
    first = next(place for place, value in values.items() if value == most)
    told = {
        "code": "built by other code",
        "fingerprint": "other settings or other files of the source",
        "key": "built from something else",
        "items": "other items",
    }.get(name, f"{name} {values[other]}, expected {most}")
    raise DataError(
        f"{other.name} is not of the same build as {first.name}: {told}; remove it or build it again"
    )


def gather(parts: Mapping[Path, PartManifest], partial: Path) -> list[ShardResult]:
    """Put the shards of all parts into one folder, and give their results in order.

    Raises:
        DataError: A shard is missing or there twice, or a file is not as it was written.
        NoSpaceError: The disk does not take a copy.
    """
    places = _places(parts)
    results = []
    for place, manifest in parts.items():
        try:
            check_files(place, manifest.files)
        except DamagedFileError as error:
            raise DataError(f"{error}; remove {place} and build part {manifest.part} again") from error
    for index in sorted(places):
        data, note = paths_of(places[index], index)
        result = typed(ShardResult, checked_json(note, json.loads(note.read_text(encoding="utf-8"))))
        if result.file is not None:
            link_or_copy(data, partial / data.name)
        results.append(result)
    return results


def _places(parts: Mapping[Path, PartManifest]) -> dict[int, Path]:
    """The folder that holds each shard."""
    places: dict[int, Path] = {}
    total = 0
    for place, manifest in parts.items():
        total = manifest.shards
        for index in manifest.read:
            if index in places:
                raise DataError(f"shard {index} is in {places[index].name} and in {place.name}")
            places[index] = place
    missing: Sequence[int] = [index for index in range(total) if index not in places]
    if missing:
        raise DataError(f"{len(missing)} of {total} shards are in no part, the first is {missing[0]}")
    return places
