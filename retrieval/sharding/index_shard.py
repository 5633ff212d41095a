"""One shard of an index: an ERS index that changes are applied to by their number, wherever it lives."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from durable.errors import DamagedFileError, LockError, NoSpaceError, UserError
from retrieval.ers.hierarchy import Floats, Ints
from retrieval.ers.index import ErsIndex
from retrieval.ers.maintenance import Health
from retrieval.ers.metadata import Metadata, Where
from retrieval.sharding.shard_change import ShardPart

_KINDS: dict[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (ValueError, UserError, DamagedFileError, NoSpaceError, LockError, MemoryError)
}
Reply = tuple[bool, Any]
"""Whether a call went well; what it returned, or the kind of the error and its message."""


class ShardFacts(NamedTuple):
    """Sizes of a shard.

    Attributes:
        applied: Number of the last change that was applied.
        vectors: Number of vectors.
        leaves: Leaves of its tree; 0 before it has any vector.
        beam: Its setting, as tuned.
        refine: Its setting, as tuned.
        width: D; 0 before it has any vector.
    """

    applied: int
    vectors: int
    leaves: int
    beam: int
    refine: int
    width: int


class IndexShard:
    """A part of an index, in any process; it has no index before it is given the first vector."""

    def __init__(self) -> None:
        self._index: ErsIndex | None = None
        self._settings: dict[str, Any] = {}
        self._applied = 0

    def open(
        self, settings: dict[str, Any], folder: str | None, applied: int, verify: bool = False
    ) -> ShardFacts:
        """Takes its content from a folder.

        Args:
            settings: Of `ErsIndex`, for the first vectors of a shard that has none.
            folder: That `save` wrote; None for a shard without vectors.
            applied: Number of the last change in it.
            verify: Compare the checksums of all files.
        """
        backend = settings.get("backend", "auto")
        self._settings, self._applied = settings, applied
        self._index = None if folder is None else ErsIndex.load(folder, verify=verify, backend=backend)
        return self.facts()

    def build(
        self,
        settings: dict[str, Any],
        vectors: NDArray[np.float32],
        ids: Ints,
        metadata: Metadata | None,
        applied: int,
    ) -> ShardFacts:
        """Replaces its content; arguments as in `ErsIndex`."""
        index = None
        if len(ids):
            index = ErsIndex(**settings)
            index.build(vectors, ids, metadata)
        self._settings, self._index, self._applied = settings, index, applied
        return self.facts()

    def facts(self) -> ShardFacts:
        """See `ShardFacts`."""
        if self._index is None:
            return ShardFacts(self._applied, 0, 0, 1, 1, 0)
        tree = self._index.hierarchy
        beam, refine = self._index.beam, self._index.refine
        return ShardFacts(self._applied, len(self._index), tree.leaf_count, beam, refine, tree.width)

    def apply(self, number: int, part: ShardPart) -> ShardFacts:
        """Applies its part of a change; one that was applied before does nothing."""
        if number > self._applied:
            self._put(part)
            if part.query is not None and self._index is not None:
                self._index.learn()
                self._index.feedback(part.query, part.answer)
                self._index.freeze()
            self._applied = number
        return self.facts()

    def _put(self, part: ShardPart) -> None:
        index = self._index
        if len(part.drop) and index is not None:
            index.remove(part.drop)
        if not len(part.ids):
            return
        if index is None:
            assert part.vectors is not None
            index = ErsIndex(**self._settings)
            index.build(part.vectors, part.ids, part.metadata)
            self._index = index
        elif part.vectors is None:
            index.update(None, part.ids, part.metadata)
        else:
            index.upsert(part.vectors, part.ids, part.metadata)

    def search(
        self, queries: Floats, k: int, beam: int, refine: int, where: Where | None
    ) -> tuple[Ints, Floats]:
        """The best of its vectors, at most ``k``: ``(ids [Q, m], scores [Q, m])``, see `ErsIndex.search`."""
        while True:
            count = 0 if self._index is None else len(self._index)
            if not count:
                return np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
            assert self._index is not None
            try:
                return self._index.search(queries, min(k, count), beam=beam, refine=refine, where=where)
            except ValueError:
                if len(self._index) >= min(k, count):  # vectors may have gone since they were counted
                    raise

    def has(self, ids: Ints) -> NDArray[np.bool_]:
        """``[n]`` whether each id is there."""
        return np.zeros(len(ids), bool) if self._index is None else self._index.has(ids)

    def ids(self) -> Ints:
        """Its ids, ascending."""
        return np.empty(0, np.int64) if self._index is None else self._index.ids

    def get(self, ids: Ints) -> tuple[Floats, dict[str, NDArray[Any]]]:
        """See `ErsIndex.get`."""
        return self._built().get(ids)

    def save(self, folder: str) -> ShardFacts:
        """Writes it into a folder; one that has never had a vector writes nothing."""
        if self._index is not None:
            self._index.save(folder)
        return self.facts()

    def tune(self, recall: float, queries: Floats | None) -> ShardFacts:
        """See `ErsIndex.tune`; nothing to do without vectors."""
        if self._index is not None and len(self._index):
            self._index.tune(recall, queries)
        return self.facts()

    def rebuild(self) -> ShardFacts:
        """See `ErsIndex.rebuild`; nothing to do without vectors."""
        if self._index is not None and len(self._index):
            self._index.rebuild()
        return self.facts()

    def health(self) -> Health | None:
        """See `ErsIndex.health`; None before it has had a vector."""
        return None if self._index is None else self._index.health()

    def resident_bytes(self) -> int:
        """See `ErsIndex.resident_bytes`."""
        return 0 if self._index is None else self._index.resident_bytes()

    def _built(self) -> ErsIndex:
        if self._index is None:
            raise ValueError("this shard has had no vectors")
        return self._index


def reply_of(shard: IndexShard, method: str, arguments: tuple[Any, ...]) -> Reply:
    """Calls a method of a shard, for another process: errors by kind and message, which anybody can read."""
    try:
        return True, getattr(shard, method)(*arguments)
    except Exception as error:
        kind = next((kind for kind in type(error).__mro__ if kind.__name__ in _KINDS), None)
        if kind is None:
            return False, ("", f"{type(error).__name__}: {error}")
        return False, (kind.__name__, str(error))


def value_of(reply: Reply) -> Any:
    """What a call in another process returned or raised."""
    well, value = reply
    if well:
        return value
    kind, message = value
    raise _KINDS.get(kind, RuntimeError)(message)
