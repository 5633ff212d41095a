"""The content of a sharded index: its partition, the replicas of its shards, and what is known of all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.ers.hierarchy import Floats, Ints
from retrieval.ers.lengths import unit
from retrieval.ers.metadata import Columns, Where
from retrieval.sharding.change_log import ChangeLog
from retrieval.sharding.partition import Partition
from retrieval.sharding.replica_set import ReplicaSet
from retrieval.sharding.scatter_gather import scatter_gather
from retrieval.sharding.shard_change import ShardPart

_LEAVES_PER_BEAM = 16  # that the descent keeps cells for, see `retrieval.ers.beam_search.level_widths`


@dataclass
class ShardedContent:
    """All that `ShardedIndex.build` makes, exchanged as one.

    Attributes:
        partition: Of the vectors over the shards.
        columns: Metadata of no rows: the names and types of the columns.
        width: D.
        sets: The replicas of each shard.
        counts: ``[S]`` vectors.
        leaves: ``[S]`` leaves of the trees.
        number: Of the last change.
        cosine: Whether vectors are kept and scored at unit length.
        saved: Folder of the files that replicas are made from; None without a home.
        built: Whether each shard has a folder there.
        log: Changes since these were written.
        asked: Number of queries that each shard was asked.
        answered: Queries.
    """

    partition: Partition
    columns: Columns
    width: int
    sets: list[ReplicaSet]
    counts: Ints
    leaves: Ints
    cosine: bool
    number: int = 0
    saved: Path | None = None
    built: list[bool] = field(default_factory=list)
    log: ChangeLog | None = None
    asked: int = 0
    answered: int = 0

    def __len__(self) -> int:
        return int(self.counts.sum())

    def as_kept(self, vectors: Floats) -> Floats:
        """Vectors or queries as they are scored."""
        return unit(vectors) if self.cosine else vectors

    def search(
        self, queries: Floats, k: int, beam: int, refine: int, where: Where | None
    ) -> tuple[Ints, Floats]:
        """See `retrieval.sharding.scatter_gather`.

        Args:
            queries: ``[Q, D]`` checked.
            k: How many, at most as many as there are vectors.
            beam: Leaves scanned in each shard.
            refine: Candidates rescored in each shard.
            where: The filter; None for none.
        """
        whole = refine >= len(self) or beam >= self.leaves.sum()
        share = 1.0 if whole else _LEAVES_PER_BEAM * beam / max(1, int(self.leaves.sum()))
        routes = self.partition.route(self.as_kept(queries), share) if len(queries) else None

        def ask(rows_of: Mapping[int, Ints]) -> dict[int, tuple[Ints, Floats]]:
            calls = {
                shard: ("search", np.ascontiguousarray(queries[rows]), k, beam, refine, where)
                for shard, rows in rows_of.items()
            }
            return self.each(calls)

        ids, scores, asked = scatter_gather(ask, len(queries), k, self.counts > 0, routes)
        self.asked += asked
        self.answered += len(queries)
        return ids, scores

    def each(self, calls: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        """What a replica of each of some shards returns to a call, all at work at once."""
        pending = {shard: self.sets[shard].begin(*call) for shard, call in calls.items()}
        return {shard: self.sets[shard].finish(begun, *calls[shard]) for shard, begun in pending.items()}

    def every(self, *call: Any) -> list[Any]:
        """What a replica of every shard returns to a call."""
        return list(self.each(dict.fromkeys(range(len(self.sets)), call)).values())

    def locate(self, ids: Ints) -> Ints:
        """``[n]`` the shard that has each id, -1 where none has."""
        owners = self.partition.owners(ids)
        found = np.full(len(ids), -1, np.int64)
        if not len(ids):
            return found
        rows_of = {
            shard: np.arange(len(ids)) if owners is None else np.flatnonzero(owners == shard)
            for shard in range(len(self.sets))
            if owners is None or (owners == shard).any()
        }
        answers = self.each({shard: ("has", ids[rows]) for shard, rows in rows_of.items()})
        for shard, rows in rows_of.items():
            found[rows[answers[shard]]] = shard
        return found

    def get(self, ids: Ints, where: Ints) -> tuple[Floats, dict[str, NDArray[Any]]]:
        """Vectors ``[n, D]`` and metadata of ids whose shards ``[n]`` are known."""
        vectors = np.empty((len(ids), self.width), np.float32)
        columns = {name: np.empty(len(ids), own.dtype) for name, own in self.columns.read(ids[:0]).items()}
        answers = self.each({shard: ("get", ids[where == shard]) for shard in np.unique(where).tolist()})
        for shard, (some, metadata) in answers.items():
            rows = np.flatnonzero(where == shard)
            vectors[rows] = some
            for name, own in metadata.items():
                columns[name][rows] = own
        return vectors, columns

    def put_parts(
        self,
        vectors: Floats | None,
        ids: Ints,
        metadata: dict[str, NDArray[Any]],
        where: Ints,
    ) -> dict[int, ShardPart]:
        """What adding vectors, or replacing them, does to each shard.

        Args:
            vectors: ``[n, D]`` checked; None where metadata alone change.
            ids: ``[n]`` checked.
            metadata: Values that `Columns.check` returned.
            where: ``[n]`` by `locate`.
        """
        target = where
        if vectors is not None:
            target = self.partition.assign(self.as_kept(vectors), ids)
            moved = (where >= 0) & (where != target)
            if moved.any() and len(metadata) < len(self.columns.values):  # they take along what is not given
                known = where >= 0
                _, kept = self.get(ids[known], where[known])
                for name in self.columns.values.keys() - metadata.keys():
                    metadata = metadata | {name: kept[name]}  # all are known, or nothing would be left out
        parts: dict[int, ShardPart] = {}
        for shard in np.unique(target).tolist():
            rows = np.flatnonzero(target == shard)
            own = {name: values[rows] for name, values in metadata.items()}
            some = None if vectors is None else np.ascontiguousarray(vectors[rows])
            parts[shard] = ShardPart(ids=ids[rows], vectors=some, metadata=own)
        for shard in np.unique(where[(where >= 0) & (where != target)]).tolist():
            gone = ids[(where == shard) & (where != target)]
            parts.setdefault(shard, ShardPart()).drop = gone
        return parts

    def close(self) -> None:
        """Ends all replicas."""
        for replicas in self.sets:
            replicas.close()


def empty_columns(kinds: Mapping[str, str]) -> Columns:
    """Metadata of no rows by the kinds of the columns: ``text``, ``int64`` or ``float64``."""
    values = {name: np.empty(0, np.int32 if kind == "text" else kind) for name, kind in kinds.items()}
    return Columns(values, {name: [] for name, kind in kinds.items() if kind == "text"})


def column_kinds(columns: Columns) -> dict[str, str]:
    """The kinds that `empty_columns` takes."""
    return {
        name: "text" if name in columns.texts else values.dtype.name
        for name, values in columns.values.items()
    }
