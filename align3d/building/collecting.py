"""Collection of finished shards into a dataset: final names, lists of what was left out, manifest."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from align3d.building.shards import ShardResult
from align3d.building.stages import Recipe
from align3d.decisions import Decision, line_of
from align3d.errors import DataError
from align3d.hashing import hash_lines
from align3d.record import ColorLoss, Note, Rejection
from align3d.store import DECISIONS, LOST_COLORS, NOTES, REJECTIONS, SCHEMA, Manifest, ShardInfo
from durable.checksums import file_facts
from durable.whole_files import sync_tree, write_text

CONTENT = 1
"""Version of what is hashed of a dataset's content."""


@dataclass(frozen=True)
class Contents:
    """What a dataset is put together from.

    Attributes:
        folder: Where the finished shards are; they are moved.
        files: Their files in that folder, in the order of the rows.
        up_axis: The axis that points up in every shape.
        rejections: What was left out.
        lost_colors: Shapes that lack colors.
        notes: What was guessed.
        decisions: What filters and reviewers decided; None where nobody was asked.
    """

    folder: Path
    files: Sequence[ShardInfo]
    up_axis: str
    rejections: Sequence[Rejection]
    lost_colors: Sequence[ColorLoss] = ()
    notes: Sequence[Note] = ()
    decisions: Sequence[Decision] | None = None


def contents_of(folder: Path, results: Sequence[ShardResult], name: str) -> Contents:
    """What the shards of a source hold.

    Raises:
        DataError: Every item was rejected, or the shapes have different up axes.
    """
    rejections = [rejection for result in results for rejection in result.rejections]
    files = [result.file for result in results if result.file is not None]
    if not files:
        first = "; ".join(f"{rejection.item}: {rejection.reason}" for rejection in rejections[:3])
        raise DataError(f"data={name}: none of {len(rejections)} items can be used; the first: {first}")
    axes = sorted({axis for result in results for axis in result.up_axes})
    if len(axes) > 1:
        raise DataError(
            f"data={name}: shapes with different up axes ({', '.join(axes)}); the source must rotate, or "
            "build with upright=true, which turns every shape until z is up"
        )
    return Contents(
        folder,
        files,
        axes[0],
        rejections,
        [loss for result in results for loss in result.lost_colors],
        [note for result in results for note in result.notes],
    )


def collect(new: Path, name: str, key: str, recipe: Recipe, contents: Contents) -> Manifest:
    """Write what goes with the shards into a folder of its own, and move them there under their final names.

    They come last, when nothing takes room any more.

    Args:
        new: The folder, which is not there yet.
        name: Name of the source.
        key: Hash of what the dataset is built from.
        recipe: Points and seed.
        contents: What it holds.

    Raises:
        NoSpaceError: The disk does not take it.
    """
    data, files = f"data-{key[:16]}", contents.files
    shards = [
        replace(file, file=f"{data}/data-{number:05d}-of-{len(files):05d}.arrow")
        for number, file in enumerate(files)
    ]
    lists = {REJECTIONS: contents.rejections, LOST_COLORS: contents.lost_colors, NOTES: contents.notes}
    for list_name, entries in lists.items():
        write_text(new / data / list_name, "".join(_lines(entries)))
    names = list(lists)
    if contents.decisions is not None:
        write_text(new / data / DECISIONS, "".join(map(line_of, contents.decisions)))
        names.append(DECISIONS)
    manifest = Manifest(
        schema=SCHEMA,
        name=name,
        key=key,
        hash=content_hash(contents.folder, files, recipe),
        points=recipe.points,
        seed=recipe.seed,
        up_axis=contents.up_axis,
        rows=sum(shard.rows for shard in shards),
        rejected=len(contents.rejections),
        shards=tuple(shards),
        lost_colors=len({loss.item for loss in contents.lost_colors}),
        files=file_facts(new, [f"{data}/{list_name}" for list_name in names]),
    )
    manifest.write(new)
    manifest.write_hugging_face(new)
    for file, shard in zip(files, shards, strict=True):
        os.replace(contents.folder / file.file, new / shard.file)
    sync_tree(new)
    return manifest


def content_hash(folder: Path, files: Iterable[ShardInfo], recipe: Recipe) -> str:
    """Hash of ids, content and captions: the same on every machine, whatever its floats."""
    return hash_lines(_content_lines(folder, files, recipe))


def _content_lines(folder: Path, files: Iterable[ShardInfo], recipe: Recipe) -> Iterator[str]:
    yield json.dumps([CONTENT, recipe.points, recipe.seed])
    for file in files:
        with pa.memory_map(str(folder / file.file)) as source:
            table = pa.ipc.open_stream(source).read_all().select(["id", "content_hash", "captions"])
            yield from (json.dumps(list(row.values())) for row in table.to_pylist())


def _lines(entries: Iterable[Any]) -> Iterator[str]:
    return (json.dumps(asdict(entry), ensure_ascii=False) + "\n" for entry in entries)
