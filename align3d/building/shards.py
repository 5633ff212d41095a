"""Shard of a build, whose items are read and whose rows and rejections are written by a worker process."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from align3d.building.stages import Draft, Recipe, Stage, attempt, through
from align3d.console.interrupts import end_at_once
from align3d.record import ColorLoss, Note, Record, Rejection
from align3d.sources import Item, Source
from align3d.store import ShardInfo, write_shard
from durable.checksums import check_files, checked_json, write_json
from durable.disk_space import space_for
from durable.errors import DamagedFileError
from durable.plain_data import typed


@dataclass(frozen=True)
class ShardResult:
    """A finished shard: its file (None where every item was rejected) and what was left out."""

    file: ShardInfo | None
    up_axes: tuple[str, ...]
    rejections: tuple[Rejection, ...]
    lost_colors: tuple[ColorLoss, ...]
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class ShardTask:
    """All that is the same for every shard of a build; picklable.

    Attributes:
        source: What reads the items.
        folder: Where the shards are written.
        recipe: Points and seed.
        schema: Columns of a shard.
        stages: What drafts go through behind the source, before they are validated.
    """

    source: Source
    folder: Path
    recipe: Recipe
    schema: pa.Schema
    stages: tuple[Stage, ...] = ()

    def paths(self, index: int) -> tuple[Path, Path]:
        """The shard's Arrow file, and the note that says it is finished."""
        return paths_of(self.folder, index)

    def mark(self, index: int) -> Path:
        """The file that says which of a shard's items is being read; it outlives a process that dies."""
        return self.folder / f"data-{index:05d}.reading"

    def position(self, index: int) -> int | None:
        """The place in its shard of the item that is being read, or was when a process died; else None."""
        try:
            return int(self.mark(index).read_bytes())
        except (OSError, ValueError):
            return None

    @property
    def first_apart(self) -> int:
        """The place of the first stage with ``apart = True``; their number if there is none.

        Such a stage waits for others rather than computes. Where a build is spread, it and those behind it
        have workers of their own.
        """
        apart = (place for place, stage in enumerate(self.stages) if getattr(stage, "apart", False))
        return next(apart, len(self.stages))

    def outcome(self, item: Item) -> Record | Rejection:
        """What comes of one item alone."""
        return next(self._finished(self._read([item]))).outcome

    def _read(self, items: Iterable[Item]) -> Iterator[Draft]:
        """Drafts of items behind the stages that have no workers of their own."""
        points, seed = self.recipe.points, self.recipe.seed
        read = (
            Draft(item.id, attempt(item.id, partial(self.source.read, item, points, seed)), item.payload)
            for item in items
        )
        drafts: Iterator[Draft] = read
        for stage in self.stages[: self.first_apart]:
            drafts = stage(drafts, self.recipe)
        return drafts

    def _finished(self, drafts: Iterator[Draft]) -> Iterator[Draft]:
        """Drafts behind all other stages."""
        return through(drafts, self.recipe, self.stages[self.first_apart :])

    def run(
        self,
        index: int,
        items: Sequence[Item],
        known: Mapping[str, Record | Rejection] | None = None,
        advance: Callable[[int], Any] = lambda n: None,
    ) -> ShardResult:
        """Read the items, in their order, and write the shard; the note comes last.

        Args:
            index: Number of the shard.
            items: Its items.
            known: What came of some of them before, by their id.
            advance: Called with 1 after each item.

        Raises:
            NoSpaceError: The disk does not take it.
        """
        known = dict(known or {})
        advance(len(known))
        with self._marking(index) as file:
            for draft in self._finished(self._read(_marked(items, [item.id for item in items], known, file))):
                known[draft.item] = draft.outcome
                advance(1)
            return self._write(index, [known[item.id] for item in items])

    def read(self, index: int, items: Sequence[Item], known: Mapping[str, Record | Rejection]) -> list[Draft]:
        """The first half of a run: drafts of items, but those that are known, before the stages apart."""
        with self._marking(index) as file:
            return list(self._read(_marked(items, [item.id for item in items], known, file)))

    def finish(
        self, index: int, ids: Sequence[str], known: Mapping[str, Record | Rejection], drafts: Sequence[Draft]
    ) -> ShardResult:
        """The second half of a run, in another process: the stages apart, and the shard is written.

        Args:
            index: Number of the shard.
            ids: Its items, in their order.
            known: What came of some of them before.
            drafts: Drafts of the others, from `read`.

        Raises:
            NoSpaceError: The disk does not take it.
        """
        outcomes, of = dict(known), {draft.item: draft for draft in drafts}
        waiting = [of.get(name) for name in ids]
        with self._marking(index) as file:
            for draft in self._finished(_marked(waiting, ids, known, file)):
                outcomes[draft.item] = draft.outcome
            return self._write(index, [outcomes[name] for name in ids])

    @contextmanager
    def _marking(self, index: int) -> Iterator[BinaryIO]:
        """The file that tells which item is being worked on; it is gone in the end."""
        mark = self.mark(index)
        try:
            with space_for(self.folder), open(mark, "wb", buffering=0) as file:
                yield file
        finally:
            mark.unlink(missing_ok=True)

    def _write(self, index: int, outcomes: Sequence[Record | Rejection]) -> ShardResult:
        data, note = self.paths(index)
        records = [outcome for outcome in outcomes if isinstance(outcome, Record)]
        result = ShardResult(
            file=write_shard(data, records, self.schema) if records else None,
            up_axes=tuple(sorted({record.up_axis for record in records})),
            rejections=tuple(
                Rejection(_valid(one.item), _valid(one.reason))
                for one in outcomes
                if isinstance(one, Rejection)
            ),
            lost_colors=tuple(ColorLoss(one.id, _valid(why)) for one in records for why in one.lost_colors),
            notes=tuple(Note(one.id, _valid(why)) for one in records for why in one.notes),
        )
        write_json(note, asdict(result), indent=None)
        return result

    def finished(self, index: int) -> ShardResult | None:
        """The result of a shard that an earlier, interrupted build finished; None where it did not."""
        data, note = self.paths(index)
        try:
            result = typed(ShardResult, checked_json(note, json.loads(note.read_text(encoding="utf-8"))))
            file = result.file
            facts = {data.name: {"bytes": file.bytes, "sha256": file.sha256}} if file else {}
            check_files(self.folder, facts)
        except FileNotFoundError:
            return None  # not begun
        except DamagedFileError as error:
            print(f"{error}: read again", file=sys.stderr, flush=True)
            return None
        except (ValueError, AttributeError) as error:
            print(f"{note} is damaged ({error}): its shard is read again", file=sys.stderr, flush=True)
            return None
        return result


def _marked(
    things: Sequence[Any], ids: Sequence[str], known: Mapping[str, Any], file: BinaryIO
) -> Iterator[Any]:
    """What belongs to items of which nothing is known; the place of the one given last is in the file."""
    for number, (thing, name) in enumerate(zip(things, ids, strict=True)):
        if name not in known:
            file.seek(0)
            file.write(b"%d" % number)
            yield thing


def paths_of(folder: Path, index: int) -> tuple[Path, Path]:
    """A shard's Arrow file in a folder, and the note that says it is finished."""
    return folder / f"data-{index:05d}.arrow", folder / f"data-{index:05d}.json"


def _valid(text: str) -> str:
    """Text that a file of UTF-8 can hold: halves of surrogate pairs are written out."""
    return text.encode("utf-8", "backslashreplace").decode()


_TASK: ShardTask | None = None


def start_worker(task: ShardTask) -> None:
    """Give a worker process what its shards share, once."""
    global _TASK
    end_at_once()  # Ctrl-C: the build reports it
    _TASK = task


def run_in_worker(index: int, items: Sequence[Item], known: Mapping[str, Record | Rejection]) -> ShardResult:
    """One shard, in a worker process that ``start_worker`` prepared; see `ShardTask.run`."""
    return _task().run(index, items, known)


def read_in_worker(item: Item) -> Record | Rejection:
    """One item alone, in a worker process that ``start_worker`` prepared."""
    return _task().outcome(item)


def _task() -> ShardTask:
    if _TASK is None:
        raise RuntimeError("a worker process that start_worker has not prepared")
    return _TASK
