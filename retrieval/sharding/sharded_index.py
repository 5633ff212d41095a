"""An index in shards behind the protocol of one.

A change is checked against all shards before anything is done. How it is written down, applied and found
again after a crash: `retrieval.sharding.shard_keeper`; how a search finds the shards that it asks:
`retrieval.sharding.scatter_gather`.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from durable.file_lock import locked
from retrieval.ers.backend import Backend
from retrieval.ers.hierarchy import Ints
from retrieval.ers.index import ErsIndex
from retrieval.ers.lengths import Metric, unit
from retrieval.ers.maintenance import Health
from retrieval.ers.metadata import Columns, Metadata, Where, conditions
from retrieval.ers.vectors import fit_half
from retrieval.reranker import Reranker
from retrieval.reranker import rerank as reranked
from retrieval.sharding.index_shard import ShardFacts
from retrieval.sharding.partition import MOST_SHARDS, WAYS, By, HashPartition, Partition, TreePartition
from retrieval.sharding.protocol import PLACES, Place
from retrieval.sharding.shard_change import ShardPart
from retrieval.sharding.shard_keeper import ShardKeeper, at_once, take_facts
from retrieval.sharding.sharded_content import ShardedContent, column_kinds, empty_columns
from retrieval.sharding.sharded_files import NAME, Header, save_sharded
from retrieval.storage import WRITER, read_folder
from retrieval.validation import LARGEST_ID, Checked, check_ids, check_vectors, real, whole

_MOST_REPLICAS = 16


class ShardedIndex:
    """Several ERS indexes searched as one; fulfills `retrieval.protocol.Retriever`.

    Answers are those of one `ErsIndex` of the same content wherever both look at everything. ``beam`` and
    ``refine`` count in each shard.

    **Threads**: any number may search while others change or save the index, as in `ErsIndex`. A change that
    moves vectors from shard to shard waits for the searches under way, and they for it.

    **Its home**: with a folder of its own every change is on the disk before the call returns, and `open`
    finds it again, whatever was killed. Without one a shard whose last replica dies is lost.

    Attributes:
        beam: Leaves scanned per query and shard.
        refine: Candidates rescored on exact vectors per query and shard, at least ``k``.
        replicas: Replicas of every shard.
    """

    name = NAME
    search_params: ClassVar = ErsIndex.search_params
    beam = Checked(whole)
    refine = Checked(whole)

    def __init__(
        self,
        shards: int = 2,
        *,
        by: By = "tree",
        place: Place = "thread",
        replicas: int = 1,
        home: str | PathLike[str] | None = None,
        patience: float = 60.0,
        **settings: Any,
    ) -> None:
        """An empty index.

        Args:
            shards: Number of shards.
            by: ``"tree"`` puts neighbors into one shard, so that a query asks few of them; ``"hash"`` spreads
                ids evenly, and a query asks all.
            place: Where shards live: ``"thread"`` (in this process), ``"process"`` (one each, on this
                machine), ``"ray"`` (an actor each, see `retrieval.sharding.ray_host`).
            replicas: Of every shard.
            home: Folder that is the index's own: new, empty, or an index's that `build` replaces. The
                machines of all shards must see it.
            patience: Seconds after which a replica that does not answer is taken for dead.
            settings: Of `ErsIndex`.

        Raises:
            ValueError: A setting is out of its range, or there is none of this name.
            MissingEngineError: Ray is not installed.
            LockError: Another process has the home.
        """
        if by not in WAYS:
            raise ValueError(f"by={by!r}: expected one of {', '.join(WAYS)}")
        if place not in PLACES:
            raise ValueError(f"place={place!r}: expected one of {', '.join(PLACES)}")
        self._shards = whole("shards", shards, most=MOST_SHARDS)
        self.replicas = whole("replicas", replicas, most=_MOST_REPLICAS)
        self._by, self._place = by, place
        patience = real("patience", patience, least=0.1, most=1e6)
        try:
            model = ErsIndex(**settings)
        except TypeError as error:
            raise ValueError(f"{error}: expected settings of ErsIndex") from error
        self._settings, self._keeper = settings, ShardKeeper(shards, place, replicas, patience, settings)
        self.metric: Metric = model.metric
        self._precision = str(settings.get("precision", "float32"))
        self.beam, self.refine = model.beam, model.refine
        self._learning = False
        self._content: ShardedContent | None = None
        self._one_change = threading.RLock()  # held through a change or a save
        self._held = ExitStack()
        self._home = None if home is None else Path(home)
        if self._home is not None:
            refuse = f"{self._home}: another process has this index open"
            self._held.enter_context(locked(self._home / WRITER, refuse=refuse))

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError("an index in shards has threads and processes: save it, and load the folder")

    def __enter__(self) -> ShardedIndex:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def __len__(self) -> int:
        return 0 if self._content is None else len(self._content)

    def __contains__(self, id: object) -> bool:
        if self._content is None or not isinstance(id, int | np.integer) or not 0 <= id <= LARGEST_ID:
            return False
        return bool(self._content.locate(np.array([id]))[0] >= 0)

    def __repr__(self) -> str:
        size = "empty" if self._content is None else f"{len(self)} vectors of width {self._content.width}"
        where = f"{self._shards} shards by {self._by}, {self.replicas} replicas each, place={self._place!r}"
        return f"<ShardedIndex: {size} in {where}, beam={self.beam}, refine={self.refine}>"

    @property
    def ids(self) -> Ints:
        """``[N]``: the ids that the index has, ascending."""
        if self._content is None:
            return np.empty(0, np.int64)
        with self._keeper.moves.reading():
            return np.sort(np.concatenate(self._content.every("ids")))

    @property
    def counts(self) -> list[int]:
        """Vectors of each shard."""
        return self._built("counts").counts.tolist()

    @property
    def live(self) -> list[int]:
        """Replicas of each shard that live, as far as is known."""
        return [replicas.live for replicas in self._built("live").sets]

    @property
    def revived(self) -> int:
        """How often a replica that died was made again."""
        return sum(replicas.revived for replicas in self._built("revived").sets)

    @property
    def shards_asked(self) -> float:
        """Mean number of shards that a query was sent to; NaN before there was any."""
        content = self._built("shards_asked")
        return content.asked / content.answered if content.answered else float("nan")

    def build(
        self, vectors: NDArray[np.float32], ids: NDArray[np.int64], metadata: Metadata | None = None
    ) -> None:
        """See `ErsIndex.build`. With a home it is saved there before this returns.

        Raises:
            ValueError: As `ErsIndex.build`, or the home holds something else. The index stays as it was.
        """
        vectors = check_vectors(vectors, "vectors")
        if 0 in vectors.shape:
            raise ValueError(f"vectors of shape {vectors.shape}: expected [N, D] with at least one vector")
        ids = check_ids(ids, len(vectors))
        columns = Columns.build(metadata, len(vectors))
        kept = unit(vectors) if self.metric == "cosine" else vectors
        if self._precision == "float16":
            fit_half(kept, "vectors")
        partition: Partition = HashPartition(self._shards)
        if self._by == "tree":
            seed = int(self._settings.get("seed", 0))
            partition = TreePartition.train(kept, self._shards, seed, self._precision)
        where = partition.assign(kept, ids)
        partition.widen(kept)
        with self._one_change:
            kinds = column_kinds(columns)
            content = self._keeper.fresh(partition, empty_columns(kinds), vectors.shape[1])
            try:

                def made(shard: int) -> ShardFacts:
                    rows = np.flatnonzero(where == shard)
                    host = self._keeper.start()
                    part = np.ascontiguousarray(vectors[rows]), ids[rows], columns.read(rows)
                    facts: ShardFacts = host.submit("build", self._settings, *part, 0).result()
                    content.sets[shard].join(0, host)
                    return facts

                take_facts(content, at_once(made, range(self._shards)))
                beam, refine = self._tuned(content)
                if self._home is not None:
                    self._keeper.write(self._home, content, beam, refine)
                self._keeper.fill(content)
            except BaseException:
                content.close()
                raise
            before, self._content = self._content, content
            self.beam, self.refine = beam, refine
            if before is not None:
                before.close()

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        *,
        beam: int | None = None,
        refine: int | None = None,
        where: Where | None = None,
        reranker: Reranker | None = None,
        rerank: int = 100,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """See `ErsIndex.search`, whose arguments and errors it has; ``beam`` and ``refine`` are a shard's.

        Raises:
            ShardDownError: A shard has no live replica, and none can be made.
        """
        content = self._built("search")
        k, rerank = whole("k", k), whole("rerank", rerank)
        beam = self.beam if beam is None else whole("beam", beam)
        refine = self.refine if refine is None else whole("refine", refine)
        queries = check_vectors(queries, "queries", content.width)
        chosen = conditions(where) if where else None
        if chosen:
            content.columns.matching(chosen)  # for its errors, which a shard without vectors would not raise
        with self._keeper.moves.reading():
            if k > len(content):
                raise ValueError(f"k={k}: the index holds {len(content)}; ask for at most as many")
            wanted = k if reranker is None else min(max(k, rerank), len(content))
            ids, scores = content.search(queries, wanted, beam, refine, chosen)
        return (ids, scores) if reranker is None else reranked(np.arange(len(ids)), ids, reranker, k)

    def get(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.float32], dict[str, NDArray[Any]]]:
        """See `ErsIndex.get`."""
        content = self._built("get")
        ids = check_ids(ids, None)
        with self._keeper.moves.reading():
            return content.get(ids, self._found(content, "get", ids))

    def add(
        self, vectors: NDArray[np.float32], ids: NDArray[np.int64], metadata: Metadata | None = None
    ) -> None:
        """See `ErsIndex.add`."""
        self._put("add", vectors, ids, metadata)

    def update(
        self, vectors: NDArray[np.float32] | None, ids: NDArray[np.int64], metadata: Metadata | None = None
    ) -> None:
        """See `ErsIndex.update`."""
        self._put("update", vectors, ids, metadata)

    def upsert(
        self, vectors: NDArray[np.float32], ids: NDArray[np.int64], metadata: Metadata | None = None
    ) -> None:
        """See `ErsIndex.upsert`."""
        self._put("upsert", vectors, ids, metadata)

    def remove(self, ids: NDArray[np.int64]) -> None:
        """See `ErsIndex.remove`."""
        with self._one_change:
            content = self._built("remove")
            ids = check_ids(ids, None)
            where = self._found(content, "remove", ids)
            parts = {
                shard: ShardPart(drop=ids[where == shard]) for shard in np.unique(where).tolist() if len(ids)
            }
            self._keeper.commit(content, parts, {shard: -len(part.drop) for shard, part in parts.items()})

    @property
    def learning(self) -> bool:
        """Whether feedback is counted, see `learn`."""
        return self._learning

    def learn(self) -> None:
        """See `ErsIndex.learn`."""
        self._built("learn")
        self._learning = True

    def freeze(self) -> None:
        """See `ErsIndex.freeze`."""
        self._learning = False

    def feedback(self, query: NDArray[np.float32], id: int) -> None:
        """See `ErsIndex.feedback`; the shard that has the answer learns of it."""
        with self._one_change:
            content = self._built("feedback")
            if not self._learning:
                raise ValueError("feedback to a frozen index: call learn() first")
            queries = check_vectors(np.asarray(query)[None], "query", content.width)
            id = whole("id", id, least=0, most=LARGEST_ID)
            shard = int(content.locate(np.array([id]))[0])
            if shard < 0:
                raise ValueError(f"feedback for id {id}: the index has no such id")
            self._keeper.commit(content, {shard: ShardPart(query=queries[0], answer=id)}, {})

    def tune(self, recall: float, queries: NDArray[np.float32] | None = None) -> None:
        """See `ErsIndex.tune`: each shard is tuned, and the largest settings are taken for all."""
        with self._one_change:
            content = self._built("tune")
            if queries is not None:
                queries = check_vectors(queries, "queries", content.width)
            take_facts(content, content.every("tune", recall, queries))
            self.beam, self.refine = self._tuned(content)

    def rebuild(self) -> None:
        """See `ErsIndex.rebuild`; with a home the index is saved anew there."""
        with self._one_change:
            content = self._built("rebuild")
            if not len(content):
                raise ValueError("rebuild of an index without vectors: add some first")
            for replicas in content.sets:
                replicas.finish_all(replicas.begin_all("rebuild"))
            take_facts(content, content.every("facts"))
            if "recall" in self._settings and self._settings["recall"] is not None:
                self.beam, self.refine = self._tuned(content)
            if self._home is not None:
                self.checkpoint()

    def health(self) -> list[Health | None]:
        """Of each shard, see `ErsIndex.health`; None for one that has had no vector."""
        return self._built("health").every("health")

    def resident_bytes(self) -> int:
        """Memory of one replica of every shard, see `ErsIndex.resident_bytes`."""
        return int(sum(self._built("resident_bytes").every("resident_bytes")))

    def save(self, folder: str | PathLike[str]) -> None:
        """Writes a copy of the index into a folder, see `ErsIndex.save`; into its home, a `checkpoint`."""
        with self._one_change:
            content = self._built("save")
            if self._home is not None and Path(folder).absolute() == self._home.absolute():
                self.checkpoint()
                return
            save_sharded(Path(folder), content, self._settings, self.beam, self.refine, log=False)

    def checkpoint(self) -> None:
        """Saves the index into its home and empties the log, so that what died is made again sooner.

        Raises:
            ValueError: It has no home.
            NotSavedError: The disk does not take it; files and log stay as they are.
        """
        with self._one_change:
            content = self._built("checkpoint")
            if self._home is None:
                raise ValueError("checkpoint of an index without a home: save it into a folder")
            self._keeper.write(self._home, content, self.beam, self.refine)

    @classmethod
    def open(cls, home: str | PathLike[str], **settings: Any) -> ShardedIndex:
        """Opens an index in its home, with all changes; those to come are logged there.

        Args:
            home: Folder of an index that was made with it as ``home``, or that `save` wrote.
            settings: As in `load`.

        Raises:
            ValueError: As `load`.
            LockError: Another process has it open.
        """
        return cls._opened(Path(home), True, **settings)

    @classmethod
    def load(cls, folder: str | PathLike[str], **settings: Any) -> ShardedIndex:
        """Opens a copy of a saved index, frozen; the folder is not changed.

        Args:
            folder: Written by `save`, or an index's home, whose log is read too.
            settings: ``verify`` (compare all checksums and ids; sizes alone otherwise), and ``replicas``,
                ``place``, ``patience`` and ``backend``, as in the constructor.

        Raises:
            ValueError: If there is none, a file is damaged or missing (which), or a shard is another index's.
        """
        return cls._opened(Path(folder), False, **settings)

    @classmethod
    def _opened(
        cls,
        folder: Path,
        is_home: bool,
        *,
        verify: bool = True,
        replicas: int = 1,
        place: Place = "thread",
        patience: float = 60.0,
        backend: Backend = "auto",
    ) -> ShardedIndex:
        def read(content: dict[str, Any], data: Path) -> ShardedIndex:
            header = Header.read(content, folder)
            index = cls(
                len(header.counts),
                by=header.by,
                place=place,
                replicas=replicas,
                patience=patience,
                **header.settings | {"backend": backend},
            )
            try:
                index._content = index._keeper.read(header, data, verify=verify, is_home=is_home)
                index.beam, index.refine = header.beam, header.refine
            except BaseException:
                index.close()
                raise
            return index

        with ExitStack() as held:
            if is_home:
                if not folder.is_dir():
                    raise ValueError(f"no index in {folder}")
                refuse = f"{folder}: another process has this index open"
                held.enter_context(locked(folder / WRITER, refuse=refuse))
            index = read_folder(folder, read, verify=verify)
            if is_home:
                index._home, index._held = folder, held.pop_all()
                if index._built("open").log is None:  # a copy that `save` wrote
                    index.checkpoint()
        return index

    def close(self) -> None:
        """Ends all replicas, and lets go of the home; the index is empty then."""
        with self._one_change:
            content, self._content = self._content, None
            if content is not None:
                content.close()
            self._held.close()

    def _tuned(self, content: ShardedContent) -> tuple[int, int]:
        facts = [own for own in content.every("facts") if own.vectors]
        if not facts:
            return self.beam, self.refine
        return max(own.beam for own in facts), max(own.refine for own in facts)

    def _put(
        self,
        what: str,
        vectors: NDArray[np.float32] | None,
        ids: NDArray[np.int64],
        metadata: Metadata | None,
    ) -> None:
        with self._one_change:
            content = self._built(what)
            ids = check_ids(ids, None if vectors is None else len(vectors))
            where = content.locate(ids)
            known = where >= 0
            if what == "add" and known.any():
                raise ValueError(f"add of id {ids[known][0]}: the index has it; use update or upsert")
            if what == "update" and not known.all():
                raise ValueError(f"update of id {ids[~known][0]}: the index has no such id; use upsert")
            partial = what == "update" or (what == "upsert" and bool(known.all()))
            checked = content.columns.check(metadata, len(ids), partial=partial)
            if vectors is not None:
                vectors = check_vectors(vectors, "vectors", content.width)
                if self._precision == "float16":
                    fit_half(content.as_kept(vectors), "vectors")
            parts = content.put_parts(vectors, ids, checked, where)
            more = {shard: -len(part.drop) for shard, part in parts.items()}
            for shard, part in parts.items():
                more[shard] += int((where[np.isin(ids, part.ids)] != shard).sum())
            self._keeper.commit(content, parts, more, vectors)

    def _found(self, content: ShardedContent, what: str, ids: Ints) -> Ints:
        """``[n]`` the shards of ids, all of which are there."""
        where = content.locate(ids)
        if (where < 0).any():
            raise ValueError(f"{what} of id {ids[where < 0][0]}: the index has no such id")
        return where

    def _built(self, what: str) -> ShardedContent:
        if self._content is None:
            raise ValueError(f"{what} on an empty index: call build(vectors, ids) first")
        return self._content
