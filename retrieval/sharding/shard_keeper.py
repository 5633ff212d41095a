"""The keeper of a sharded index's replicas: starts them, applies changes in one order, makes lost ones again.

A change is written into the log of the index's home and then applied to every replica of the shards that it
concerns. A replica that died is made of the files of its shard and the log, or of a live one where the index
has no home, while others answer.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from durable.errors import DamagedFileError
from retrieval.ers.hierarchy import Floats
from retrieval.ers.locks import ReadersWriterLock
from retrieval.ers.metadata import Columns
from retrieval.sharding.change_log import ChangeLog
from retrieval.sharding.index_shard import ShardFacts
from retrieval.sharding.partition import Partition
from retrieval.sharding.process_host import ProcessHost
from retrieval.sharding.protocol import Place, ShardHost
from retrieval.sharding.ray_host import RayHost
from retrieval.sharding.replica_set import ReplicaSet, ShardDownError
from retrieval.sharding.shard_change import Change, ShardPart
from retrieval.sharding.sharded_content import ShardedContent, empty_columns
from retrieval.sharding.sharded_files import LOG, Header, check_shard, read_parts, save_sharded, shard_folder
from retrieval.sharding.sharded_files import check_ids as check_shard_ids
from retrieval.sharding.thread_host import ThreadHost
from retrieval.validation import check_vectors

_ATTEMPTS = 3
"""Times that a replica is made before it counts as lost; files may be replaced meanwhile."""


class ShardKeeper:
    """Maker of replicas, and the one way in which they change.

    Args:
        shards: Number of shards.
        place: Where they live.
        replicas: Of every shard.
        patience: Seconds after which a replica that does not answer is taken for dead.
        settings: Of the shards' indexes.

    Attributes:
        settings: See above.
        moves: Shared by searches; a change that moves vectors between shards has it alone.
    """

    def __init__(
        self, shards: int, place: Place, replicas: int, patience: float, settings: dict[str, Any]
    ) -> None:
        self.settings = settings
        self.moves = ReadersWriterLock()
        self._shards, self._place, self._replicas, self._patience = shards, place, replicas, patience
        self._order = threading.RLock()  # held while a change is written down and applied, and at `join`

    def fresh(self, partition: Partition, columns: Columns, width: int) -> ShardedContent:
        """Content without replicas."""
        none = np.zeros(self._shards, np.int64)
        cosine = self.settings.get("metric") == "cosine"
        content = ShardedContent(partition, columns, width, [], none, none.copy(), cosine)
        content.sets = [
            ReplicaSet(shard, self._replicas, self._patience, self._reviver(content))
            for shard in range(self._shards)
        ]
        return content

    def start(self) -> ShardHost:
        """A replica without content."""
        if self._place == "ray":
            return RayHost()
        if self._place == "process":
            return ProcessHost(max(1, (os.cpu_count() or 1) // (self._shards * self._replicas)))
        return ThreadHost()

    def _reviver(self, content: ShardedContent) -> Callable[[ReplicaSet, int], None]:
        def revive(replicas: ReplicaSet, slot: int) -> None:
            for attempt in range(1, _ATTEMPTS + 1):
                host = self.start()
                try:
                    self._bring_up(content, replicas, slot, host)
                    return
                except Exception:
                    host.kill()
                    if attempt == _ATTEMPTS:
                        raise
                    time.sleep(0.1 * attempt)

        return revive

    def _bring_up(self, content: ShardedContent, replicas: ReplicaSet, slot: int, host: ShardHost) -> None:
        """Gives a new replica what its shard has, and puts it into its place."""
        log, saved, shard = content.log, content.saved, replicas.shard
        if log is None or saved is None:
            with self._order:
                self._copy(replicas, host, content.number)
                replicas.join(slot, host)
            return
        there = str(shard_folder(saved, shard)) if content.built[shard] else None
        host.submit("open", self.settings, there, log.base).result()
        place = _catch_up(host, shard, log, 0)
        with self._order:
            if content.log is not log:
                raise ShardDownError("the index was saved meanwhile")
            _catch_up(host, shard, log, place)
            replicas.join(slot, host)

    def _copy(self, replicas: ReplicaSet, host: ShardHost, number: int) -> None:
        """Gives a new replica what a live one has."""
        if not replicas.live:
            raise ShardDownError("its last replica is gone, and the index has no home")
        with tempfile.TemporaryDirectory(prefix="shard-") as name:
            folder = Path(name) / "shard"
            facts: ShardFacts = replicas.hosts[0].submit("save", str(folder)).result()
            saved = str(folder) if facts.width else None
            host.submit("open", self.settings, saved, number).result()

    def fill(self, content: ShardedContent) -> None:
        """Makes the replicas that are lacking, and waits for them; ShardDownError where that fails."""
        for replicas in content.sets:
            replicas.start_lacking()
        for replicas in content.sets:
            replicas.fill()

    def commit(
        self,
        content: ShardedContent,
        parts: dict[int, ShardPart],
        more: dict[int, int],
        vectors: Floats | None = None,
    ) -> None:
        """Writes a change down and applies it.

        Args:
            content: The content.
            parts: What it does to each shard.
            more: Vectors that each shard has more by it.
            vectors: ``[n, D]`` that are put.
        """
        if not parts:
            return
        change = Change(content.number + 1, parts)
        moves = vectors is not None and any(len(part.drop) for part in parts.values())
        # Searches first: one of them may wait for a replica, which joins in the order of changes.
        with self.moves.writing() if moves else nullcontext(), self._order:
            if content.log is not None:
                content.log.append(change)
            elif down := [shard for shard in parts if not content.sets[shard].live]:
                raise ShardDownError(f"shard {down[0]} is down, and the index has no home; nothing changed")
            if vectors is not None:
                content.partition.widen(content.as_kept(vectors))
            _count(content, {shard: min(0, own) for shard, own in more.items()})
            lost = self._apply(content, change)
            _count(content, {shard: max(0, own) for shard, own in more.items()})
        if lost and content.log is None:
            raise ShardDownError(f"shard {lost[0]} is down, and the index has no home: its vectors are lost")

    def _apply(self, content: ShardedContent, change: Change) -> list[int]:
        """Applies a change to all replicas; returns the shards of which none made it."""
        pending = {
            shard: content.sets[shard].begin_all("apply", change.number, part)
            for shard, part in change.parts.items()
        }
        facts = {shard: content.sets[shard].finish_all(begun) for shard, begun in pending.items()}
        content.number = change.number
        for shard, own in facts.items():
            if own is not None:
                content.leaves[shard] = own.leaves
        return [shard for shard, own in facts.items() if own is None]

    def write(self, home: Path, content: ShardedContent, beam: int, refine: int) -> None:
        """Saves content that nobody changes meanwhile into its home, and begins a new log there."""
        data, built = save_sharded(home, content, self.settings, beam, refine, log=True)
        with self._order:
            content.saved, content.built = data, built
            content.log = ChangeLog(data / LOG, content.number)

    def read(self, header: Header, data: Path, *, verify: bool, is_home: bool) -> ShardedContent:
        """The content of files, and of the log beside them.

        Args:
            header: Of the manifest.
            data: Folder of the files.
            verify: Whether the checksums and the ids of all shards are compared.
            is_home: Whether changes are logged there from now on.

        Raises:
            DamagedFileError: A shard is missing, damaged or another index's, or the log is.
        """
        content = self.fresh(read_parts(header, data), empty_columns(header.columns), header.width)
        content.number = header.number

        def made(shard: int) -> ShardFacts:
            host = self.start()
            try:
                saved = str(shard_folder(data, shard)) if header.built[shard] else None
                opened = host.submit("open", self.settings, saved, header.number, verify)
                facts: ShardFacts = opened.result()
                check_shard(data, header, shard, facts)
            except BaseException:
                host.kill()
                raise
            content.sets[shard].join(0, host)
            return facts

        try:
            take_facts(content, at_once(made, range(self._shards)))
            if verify:
                check_shard_ids(data, content.partition, content.every("ids"))
            if header.log:
                self._replay(content, ChangeLog(data / LOG, header.number, mend=is_home))
                if is_home:
                    content.saved, content.built = data, header.built
                    content.log = ChangeLog(data / LOG, header.number)
            self.fill(content)
        except BaseException:
            content.close()
            raise
        return content

    def _replay(self, content: ShardedContent, log: ChangeLog) -> None:
        """Applies a log to the first replica of every shard; DamagedFileError where it is another index's."""
        for change, _ in log.read():
            try:
                if not change.parts.keys() <= set(range(self._shards)):
                    raise ValueError(f"{self._shards} shards")
                for part in change.parts.values():
                    if part.vectors is not None:
                        vectors = check_vectors(part.vectors, "vectors", content.width)
                        content.partition.widen(content.as_kept(vectors))
                content.each({shard: ("apply", change.number, part) for shard, part in change.parts.items()})
            except ValueError as error:
                raise DamagedFileError(
                    f"{log.path}: change {change.number} is not this index's ({error})"
                ) from error
            content.number = change.number
        take_facts(content, content.every("facts"))


def _catch_up(host: ShardHost, shard: int, log: ChangeLog, place: int) -> int:
    """Applies a log from a place on to one replica; returns the place behind it."""
    for change, behind in log.read(place):
        if shard in change.parts:
            host.submit("apply", change.number, change.parts[shard]).result()
        place = behind
    return place


def _count(content: ShardedContent, more: dict[int, int]) -> None:
    counts = content.counts.copy()
    for shard, own in more.items():
        counts[shard] += own
    content.counts = counts


def at_once(work: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """What a function returns for each item, as many at once as there are processors."""
    with ThreadPoolExecutor(max(2, os.cpu_count() or 1)) as pool:
        return list(pool.map(work, items))


def take_facts(content: ShardedContent, facts: list[ShardFacts]) -> None:
    """Takes the sizes of all shards."""
    content.counts = np.array([own.vectors for own in facts])
    content.leaves = np.array([own.leaves for own in facts])
