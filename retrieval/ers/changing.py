"""The changes of an ERS index: vectors that come, go or are replaced, and the maintenance that follows."""

from __future__ import annotations

import threading
import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.ers.construction import Recipe
from retrieval.ers.hierarchy import Ints
from retrieval.ers.lengths import unit
from retrieval.ers.locks import ReadersWriterLock
from retrieval.ers.maintenance import Health, health, is_due, maintain
from retrieval.ers.metadata import Metadata
from retrieval.ers.state import IndexState, Routing
from retrieval.ers.vectors import fit_half
from retrieval.validation import check_ids, check_vectors

_SLICE = 1024  # vectors changed before searches get their turn
_SPARE, _SPARE_PER_ROW = 2**22, 64  # bytes kept to take back a change that finds no more


class _Before(NamedTuple):
    """Parts of an index that a change replaced.

    Attributes:
        new: ``[n]`` ids that were not in the index.
        ids: ``[m]`` those that were.
        vectors: ``[m, D]`` of these; None where they stay.
        metadata: Of these.
    """

    new: Ints
    ids: Ints
    vectors: NDArray[np.float32] | None
    metadata: dict[str, NDArray[Any]]

    @classmethod
    def of(cls, content: IndexState, ids: Ints, vectors: bool) -> _Before:
        rows = content.ids.rows(ids)
        known = rows[rows >= 0]
        old = content.vectors.read(known) if vectors else None
        return cls(ids[rows < 0], ids[rows >= 0], old, content.columns.read(known))


class ChangingIndex:
    """The part of `retrieval.ErsIndex` that changes its content.

    A change holds ``_one_change`` throughout and the lock for `_SLICE` vectors at a time; searches share the
    lock.
    """

    success_weight: Any
    exploration: Any
    _content: IndexState | None
    _recipe: Recipe
    _maintain: bool
    _one_change: threading.RLock
    _lock: ReadersWriterLock

    def health(self) -> Health:
        """Maintenance owed to changes, and its cost so far; ValueError before `build`."""
        with self._one_change:
            return health(self._built("health"), self._recipe)

    def add(
        self, vectors: NDArray[np.float32], ids: NDArray[np.int64], metadata: Metadata | None = None
    ) -> None:
        """Adds vectors under new ids.

        Args:
            vectors: ``[n, D]``, finite and not zero.
            ids: ``[n]`` distinct, none of them in the index.
            metadata: A value for each of the columns that the index was built with.

        Raises:
            ValueError: If the index is empty, or something does not fit; the index stays as it was.
        """
        with self._one_change:
            ids, known = self._located("add", vectors, ids)
            if known.any():
                raise ValueError(f"add of id {ids[known][0]}: the index has it; use update or upsert")
            self._put(vectors, ids, metadata, partial=False)

    def update(
        self, vectors: NDArray[np.float32] | None, ids: NDArray[np.int64], metadata: Metadata | None = None
    ) -> None:
        """Replaces vectors, metadata or both.

        Args:
            vectors: ``[n, D]``, finite and not zero; None keeps those that are there.
            ids: ``[n]`` distinct, all of them in the index.
            metadata: New values for some of the columns.

        Raises:
            ValueError: If the index is empty, or something does not fit; the index stays as it was.
        """
        with self._one_change:
            ids, known = self._located("update", vectors, ids)
            if not known.all():
                raise ValueError(f"update of id {ids[~known][0]}: the index has no such id; use upsert")
            self._put(vectors, ids, metadata, partial=True)

    def upsert(
        self, vectors: NDArray[np.float32], ids: NDArray[np.int64], metadata: Metadata | None = None
    ) -> None:
        """Adds vectors, replacing those whose ids are there; see `add`.

        Args:
            vectors: ``[n, D]``, finite and not zero.
            ids: ``[n]`` distinct.
            metadata: A value for each column; some may be left out if no id is new.

        Raises:
            ValueError: If the index is empty, or something does not fit; the index stays as it was.
        """
        with self._one_change:
            ids, known = self._located("upsert", vectors, ids)
            self._put(vectors, ids, metadata, partial=bool(known.all()))

    def remove(self, ids: NDArray[np.int64]) -> None:
        """Takes vectors out; each call looks through all rows, so many ids at once cost little more than one.

        Args:
            ids: ``[n]`` distinct, all of them in the index.

        Raises:
            ValueError: If the index is empty or has no such id; the index stays as it was.
        """
        with self._one_change:
            ids, known = self._located("remove", None, ids)
            if not known.all():
                raise ValueError(f"remove of id {ids[~known][0]}: the index has no such id")
            content = self._built("remove")
            with self._lock.writing():
                content.drop(ids)
            self._keep_up(content)

    def _located(
        self, what: str, vectors: NDArray[np.float32] | None, ids: NDArray[np.int64]
    ) -> tuple[Ints, NDArray[np.bool_]]:
        """Checked ids and whether the index has each."""
        content = self._built(what)
        ids = check_ids(ids, None if vectors is None else len(vectors))
        return ids, content.ids.rows(ids) >= 0

    def _put(
        self, vectors: NDArray[np.float32] | None, ids: Ints, metadata: Metadata | None, *, partial: bool
    ) -> None:
        content = self._built("put")
        checked = content.columns.check(metadata, len(ids), partial=partial)
        if vectors is not None:
            vectors = self._checked(vectors, "vectors", content)
            if self._recipe.precision == "float16":
                fit_half(vectors, "vectors")
        done: list[_Before] = []
        spare: list[NDArray[np.uint8]] = []
        try:
            if vectors is not None:
                content.reserve(ids, _SLICE)
            spare.append(np.empty(_SPARE + _SPARE_PER_ROW * (len(content.ids) + len(ids)), np.uint8))
            for at in range(0, len(ids), _SLICE):
                part = slice(at, at + _SLICE)
                some = None if vectors is None else vectors[part]
                more = at + _SLICE < len(ids)  # which may fail
                before = _Before.of(content, ids[part], vectors is not None) if more else None
                with self._lock.writing():
                    content.put(some, ids[part], {name: values[part] for name, values in checked.items()})
                    if before is not None:
                        done.append(before)
        except BaseException as error:
            spare.clear()  # taking back needs memory too
            try:
                self._undo(content, done)
            except MemoryError:
                raise MemoryError(
                    f"{len(ids):,} changes do not fit into memory, nor does taking them back: a part of them "
                    "is in; load a saved index"
                ) from error
            if isinstance(error, MemoryError):
                raise MemoryError(
                    f"{len(ids):,} changes do not fit into memory; the index is as it was; make fewer at once"
                ) from error
            raise
        self._keep_up(content)

    def _undo(self, content: IndexState, done: list[_Before]) -> None:
        """Takes back the parts of a change that are in."""
        for before in done[::-1]:
            with self._lock.writing():
                content.drop(before.new)
                if len(before.ids):
                    content.put(before.vectors, before.ids, before.metadata)

    def _checked(self, vectors: NDArray[np.float32], name: str, content: IndexState) -> NDArray[np.float32]:
        """Vectors or queries as `check_vectors` returns them, of unit length where the metric asks for it."""
        checked = check_vectors(vectors, name, content.tree.width)
        return unit(checked) if self._recipe.metric == "cosine" else checked

    def _keep_up(self, content: IndexState) -> None:
        """Maintains the index if enough has changed."""
        if self._maintain and is_due(content):
            try:
                maintain(content, self._recipe, self._exchange)
            except MemoryError:
                warnings.warn(
                    "the change is in, but the maintenance that it owes does not fit into memory: it waits "
                    "for the next change or for rebuild()",
                    RuntimeWarning,
                    stacklevel=4,
                )

    def _exchange(self, routing: Routing) -> None:
        """Puts a routing in the place of the content's; searches wait for no more than this."""
        content = self._built("exchange")
        fast = content.fast_search(routing)
        priors = routing.statistics.prior(self.success_weight, self.exploration)
        with self._lock.writing():
            content.reroute(routing, fast, priors)

    def _built(self, what: str) -> IndexState:
        if self._content is None:
            raise ValueError(f"{what} on an empty index: call build(vectors, ids) first")
        return self._content
