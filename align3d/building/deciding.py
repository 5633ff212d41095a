"""Application of decisions to a dataset as it was read: shapes left out, captions dropped or edited."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from align3d.building.collecting import Contents
from align3d.captions import normalize_caption
from align3d.dataset import ShapeDataset
from align3d.decisions import REVIEWER, Decision, Outcome, line_of, settle
from align3d.errors import DataError, did_you_mean
from align3d.filters import Filter, decisions_of
from align3d.hashing import hash_json, hash_lines
from align3d.record import Rejection
from align3d.store import ORIGINS, ShardInfo, write_table
from durable.plain_text import plain_text
from durable.whole_files import link_or_copy

EDITED = "edited"
"""Origin of captions that a decision wrote."""
KEEP = f"{REVIEWER}keep"
"""Author of what ``keep=`` says: the person who builds."""


@dataclass(frozen=True)
class Judgement:
    """Those who decide about a dataset as it was read; false where nobody does.

    Attributes:
        filters: Filters, in their order.
        reviews: What reviewers decided, in the order in which they did.
        keep: Ids of shapes that are kept with all their captions, whatever filters and reviewers say; what
            reviewers edited stays edited.
    """

    filters: tuple[Filter, ...] = ()
    reviews: tuple[Decision, ...] = ()
    keep: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.filters or self.reviews or self.keep)

    def key(self, as_read: str) -> str:
        """Hash of what the dataset is built from, by that of the dataset as it is read."""
        if not self:
            return as_read
        filters = [[one.name, one.fingerprint()] for one in self.filters]
        return hash_json([as_read, filters, hash_lines(map(line_of, self.reviews)), sorted(self.keep)])

    def decisions(self, dataset: ShapeDataset, progress: bool) -> list[Decision]:
        """Everything that is decided about a dataset: by filters, by reviewers, and by ``keep``.

        Raises:
            DataError: A shape to keep is not there, or a filter lacks what it needs.
        """
        people = [*self.reviews, *self._kept(dataset)]
        return [*decisions_of(dataset, self.filters, before=people, progress=progress), *people]

    def _kept(self, dataset: ShapeDataset) -> list[Decision]:
        rows = {item: row for row, item in enumerate(dataset.ids)} if self.keep else {}
        kept = []
        for item in dict.fromkeys(self.keep):
            if item not in rows:
                left_out = {one.item: one.reason for one in dataset.rejections}
                no_such = f"no such shape{did_you_mean(item, rows)}"
                read = f"was rejected when it was read: {left_out.get(item)}"
                raise DataError(f"keep={item}: {read if item in left_out else no_such}")
            reason = "kept: by the build's setting"
            kept.append(Decision(item, "accept", reason, KEEP))
            edited = {
                normalize_caption(one.caption)
                for one in self.reviews
                if one.item == item and one.action == "edit_caption"
            }
            kept += [
                Decision(item, "keep_caption", reason, KEEP, caption)
                for caption in dataset.captions[rows[item]]
                if normalize_caption(caption) not in edited
            ]
        return kept


def apply(dataset: ShapeDataset, decisions: Sequence[Decision], folder: Path) -> Contents:
    """Write the shards of what is left of a dataset.

    A shard in which nothing changes is a hard link to the one that was read, and takes no room where the file
    system has such links.

    Args:
        dataset: The dataset as it was read.
        decisions: What was decided.
        folder: Where the shards are written.

    Raises:
        DataError: Nothing is left.
        NoSpaceError: The disk does not take it.
    """
    about: dict[str, list[Decision]] = {}
    for one in decisions:
        about.setdefault(one.item, []).append(one)
    _tell_unused(dataset, about)
    files: list[ShardInfo] = []
    rejected: dict[str, Decision] = {}
    for number, shard in enumerate(dataset.manifest.shards):
        source, target = dataset.path / shard.file, folder / f"data-{number:05d}.arrow"
        with pa.memory_map(str(source)) as mapped:
            table = pa.ipc.open_stream(mapped).read_all()
            outcomes = outcomes_of(table, about)
            for item, outcome in zip(table["id"].to_pylist(), outcomes, strict=True):
                if outcome.rejected is not None:
                    rejected[item] = outcome.rejected
            if not any(one.rejected or one.changes for one in outcomes):
                link_or_copy(source, target)
                files.append(replace(shard, file=target.name))
            elif (left := with_outcomes(table, outcomes)).num_rows:
                files.append(write_table(target, left))
    if not files:
        first = "; ".join(f"{item}: {one.reason} ({one.by})" for item, one in list(rejected.items())[:3])
        raise DataError(
            f"data={dataset.name}: none of {len(dataset)} shapes is left by filters and reviewers; "
            f"the first: {first}"
        )
    return Contents(
        folder,
        files,
        dataset.up_axis,
        [
            *dataset.rejections,
            *(Rejection(item, f"{one.reason} ({one.by})") for item, one in rejected.items()),
        ],
        [loss for loss in dataset.lost_colors if loss.item not in rejected],
        [note for note in dataset.notes if note.item not in rejected],
        decisions,
    )


def outcomes_of(table: pa.Table, about: Mapping[str, Sequence[Decision]]) -> list[Outcome]:
    """What becomes of each row, by the decisions about it."""
    columns = (table[name].to_pylist() for name in ("id", "content_hash", "captions"))
    return [
        settle(content, captions, about.get(item, ()))
        for item, content, captions in zip(*columns, strict=True)
    ]


def with_outcomes(table: pa.Table, outcomes: Sequence[Outcome]) -> pa.Table:
    """The rows that stay, with the captions that are left of theirs."""
    captions = [[plain_text(caption) for caption in one.captions] for one in outcomes]
    origins = [
        [known.get(caption, EDITED) for caption in left]
        for left, known in zip(captions, _origins(table), strict=True)
    ]
    for name, values in (("captions", captions), (ORIGINS, origins)):
        place = table.schema.get_field_index(name)
        field = table.schema.field(place)
        table = table.set_column(place, field, pa.array(values, type=field.type))
    return table.filter(pa.array([one.rejected is None for one in outcomes]))


def _origins(table: pa.Table) -> list[dict[str, str]]:
    """Where each caption of each row comes from."""
    columns = table["captions"].to_pylist(), table[ORIGINS].to_pylist()
    return [dict(zip(captions, origins, strict=True)) for captions, origins in zip(*columns, strict=True)]


def _tell_unused(dataset: ShapeDataset, about: Mapping[str, Sequence[Decision]]) -> None:
    """One line on decisions of people about shapes that are not there, or not the same any more."""
    there = dict(zip(dataset.ids, dataset.content_hashes, strict=True))
    unused = [
        one
        for item, decisions in about.items()
        for one in decisions
        if one.is_human and (item not in there or one.item_hash not in ("", there[item]))
    ]
    if unused:
        state = "is another shape by now" if unused[0].item in there else "is not there"
        print(
            f"{len(unused)} of the reviewers' decisions do not count: {unused[0].item} {state}",
            file=sys.stderr,
            flush=True,
        )
