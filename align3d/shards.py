"""Shard of a build, whose items are read and whose rows and rejections are written by a worker process."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from align3d.console.interrupts import end_at_once
from align3d.errors import RejectedItem
from align3d.record import Record, Rejection, check_record, in_plain_text
from align3d.sources import Item, Source
from align3d.store import ShardInfo, write_shard, write_text


@dataclass(frozen=True)
class ShardResult:
    """A finished shard: its file (None where every item was rejected) and what was left out."""

    file: ShardInfo | None
    up_axes: tuple[str, ...]
    rejections: tuple[Rejection, ...]


@dataclass(frozen=True)
class ShardTask:
    """All that is the same for every shard of a build; picklable."""

    source: Source
    folder: Path
    points: int
    seed: int
    schema: pa.Schema

    def paths(self, index: int) -> tuple[Path, Path]:
        """The shard's Arrow file, and the note that says it is finished."""
        return self.folder / f"data-{index:05d}.arrow", self.folder / f"data-{index:05d}.json"

    def run(
        self, index: int, items: Sequence[Item], advance: Callable[[int], Any] = lambda n: None
    ) -> ShardResult:
        """Read the items, in their order, and write the shard; the note comes last."""
        records: list[Record] = []
        rejections: list[Rejection] = []
        for item in items:
            try:
                record = in_plain_text(self.source.read(item, self.points, self.seed))
                check_record(record, self.points)
                records.append(record)
            except RejectedItem as rejected:
                rejections.append(Rejection(item.id, rejected.reason))
            advance(1)
        data, note = self.paths(index)
        result = ShardResult(
            file=write_shard(data, records, self.schema) if records else None,
            up_axes=tuple(sorted({record.up_axis for record in records})),
            rejections=tuple(rejections),
        )
        write_text(note, json.dumps(asdict(result)))
        return result

    def finished(self, index: int) -> ShardResult | None:
        """The result of a shard that an earlier, interrupted build finished; None where it did not."""
        data, note = self.paths(index)
        try:
            content = json.loads(note.read_text(encoding="utf-8"))
            file = ShardInfo(**content["file"]) if content["file"] else None
            result = ShardResult(
                file=file,
                up_axes=tuple(content["up_axes"]),
                rejections=tuple(Rejection(**rejection) for rejection in content["rejections"]),
            )
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None  # not begun, or cut off while the note was written
        if file is not None and (not data.is_file() or data.stat().st_size != file.bytes):
            return None
        return result


_TASK: ShardTask | None = None


def start_worker(task: ShardTask) -> None:
    """Give a worker process what its shards share, once."""
    global _TASK
    end_at_once()  # Ctrl-C: the build reports it
    _TASK = task


def run_in_worker(index: int, items: Sequence[Item]) -> tuple[int, ShardResult]:
    """One shard, in a worker process that ``start_worker`` prepared."""
    if _TASK is None:
        raise RuntimeError("run_in_worker called before start_worker")
    return index, _TASK.run(index, items)
