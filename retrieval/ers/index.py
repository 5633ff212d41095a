"""The ERS index: a tree routes, the codes of the leaves that it reaches are scanned, exact vectors decide."""

from __future__ import annotations

import threading
import time
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from durable.errors import DamagedFileError
from retrieval.engines.base import PROBES, REFINES
from retrieval.ers.backend import Backend, choose_backend
from retrieval.ers.changing import ChangingIndex
from retrieval.ers.construction import Recipe, build_content
from retrieval.ers.hierarchy import DEEPEST, Ints, SemanticHierarchy
from retrieval.ers.inverted_lists import CODECS, Codec
from retrieval.ers.lengths import METRICS, Metric
from retrieval.ers.locks import ReadersWriterLock
from retrieval.ers.maintenance import rebuilt
from retrieval.ers.metadata import Metadata, Where
from retrieval.ers.restructuring import code_error
from retrieval.ers.serialization import as_bytes, from_bytes, read_parts, write_parts, written_bytes
from retrieval.ers.state import IndexState
from retrieval.ers.tuning import own_sample, sample_of, tune
from retrieval.ers.vectors import PRECISIONS, Precision
from retrieval.reranker import Reranker
from retrieval.reranker import rerank as reranked
from retrieval.storage import read_folder, save_folder
from retrieval.validation import LARGEST_ID, MOST, Checked, check_ids, real, whole

_NOT_COPIED = ("_content", "_one_change", "_lock")


def _weight(name: str, value: Any) -> float:
    """A weight of the descent's score: of other numbers no order of the nodes would come."""
    return real(name, value, most=1e15)


def _share(name: str, value: Any) -> float:
    """A share that is neither none nor all."""
    share = real(name, value, most=1)
    if share in (0, 1):
        raise ValueError(f"{name}={value!r}: expected a number above 0 and below 1, such as 0.95")
    return share


class ErsIndex(ChangingIndex):
    """Hierarchical index with learned routing and re-ranking; fulfills `retrieval.protocol.Retriever`.

    A fresh index is **frozen**: searching changes nothing, and feedback is refused, so that results depend on
    the content alone. After `learn` feedback is counted and used; after `freeze` what was learned stays.

    **Threads**: any number may search while others change or save the index. Changes and savings wait for
    each other; a search waits for at most 1,024 vectors to be changed, and may see a part of a larger change.
    What an error refuses is refused whole.

    Attributes:
        beam: Leaves scanned per query; more find more and cost more.
        refine: Candidates rescored on exact vectors per query, at least ``k``.
        success_weight: W of the descent's score (see `retrieval.ers.feedback`), 0 or more.
        exploration: C of the descent's score, 0 or more.
    """

    name = "ers"
    search_params: ClassVar = {"beam": PROBES, "refine": REFINES}
    beam = Checked(whole)
    refine = Checked(whole)
    success_weight = Checked(_weight)
    exploration = Checked(_weight)

    def __init__(
        self,
        *,
        beam: int = 16,
        refine: int = 100,
        metric: Metric = "ip",
        codec: Codec = "pq",
        precision: Precision = "float32",
        leaves: int | None = None,
        depth: int = 2,
        success_weight: float = 0.1,
        exploration: float = 0.0,
        half_life: float = 10_000.0,
        seed: int = 0,
        recall: float | None = None,
        maintain: bool = True,
        backend: Backend = "auto",
    ) -> None:
        """Settings.

        Args:
            beam: See the class.
            refine: See the class.
            metric: ``"ip"`` ranks by inner product, whatever lengths vectors have (where these differ much,
                four times the ``beam`` is scanned, and not by the fastest code); ``"cosine"`` brings vectors
                and queries to unit length first, and keeps them so.
            codec: Of the scanned codes, see `retrieval.ers.inverted_lists.Leaves`.
            precision: Of the exact vectors that are kept.
            leaves: Of the tree; from the number of vectors if None.
            depth: Levels of the tree, at most 32.
            success_weight: See the class.
            exploration: See the class.
            half_life: Feedbacks after which an old one counts half, at least 1.
            seed: Seed of the sample and of k-means.
            recall: Recall@10 for which `build` tunes ``beam`` and ``refine``, see `tune`; None leaves them.
            maintain: Whether changes keep the tree and the codes as good as fresh ones as they go, see
                `retrieval.ers.maintenance`; else `rebuild` does, when it is called.
            backend: See `retrieval.ers.backend.choose_backend`; results differ by rounding only.

        Raises:
            ValueError: If a setting is out of its range.
        """
        if metric not in METRICS:
            raise ValueError(f"metric={metric!r}: expected one of {', '.join(METRICS)}")
        if codec not in CODECS:
            raise ValueError(f"codec={codec!r}: expected one of {', '.join(CODECS)}")
        if precision not in PRECISIONS:
            raise ValueError(f"precision={precision!r}: expected one of {', '.join(PRECISIONS)}")
        self._backend = choose_backend(backend)
        self.beam, self.refine = beam, refine
        self.success_weight, self.exploration = success_weight, exploration
        if not isinstance(maintain, bool):
            raise ValueError(f"maintain={maintain!r}: expected True or False")
        self._maintain = maintain
        self._recipe = Recipe(
            metric=metric,
            codec=codec,
            precision=precision,
            leaves=None if leaves is None else whole("leaves", leaves),
            depth=whole("depth", depth, most=DEEPEST),
            half_life=real("half_life", half_life, least=1),
            seed=whole("seed", seed, least=0, most=MOST - DEEPEST),
            backend=self._backend,
        )
        self._recall = None if recall is None else _share("recall", recall)
        self._learning = False
        self._content: IndexState | None = None
        self._one_change = threading.RLock()  # held through a change or a save; searches do not ask for it
        self._lock = ReadersWriterLock()

    def __getstate__(self) -> dict[str, Any]:
        """For `pickle` and `copy.deepcopy`: a copy that shares nothing, the exact vectors in memory."""
        with self._one_change:
            state = {name: value for name, value in self.__dict__.items() if name not in _NOT_COPIED}
            return state | {"parts": None if self._content is None else as_bytes(self._content)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        parts = state.pop("parts")
        self.__dict__.update(state)
        self._one_change, self._lock = threading.RLock(), ReadersWriterLock()
        self._content = None if parts is None else from_bytes(parts, self._recipe)
        if self._content is not None:
            self._content.priors = self._content.statistics.prior(self.success_weight, self.exploration)

    def __len__(self) -> int:
        return 0 if self._content is None else len(self._content.ids)

    def __contains__(self, id: object) -> bool:
        if self._content is None or not isinstance(id, int | np.integer):
            return False
        with self._lock.reading():
            return bool(self._content.ids.rows(np.array([id]))[0] >= 0)

    def has(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """``[n]`` whether the index has each of some ids ``[n]``."""
        if self._content is None:
            return np.zeros(len(ids), bool)
        with self._lock.reading():
            return self._content.ids.rows(np.asarray(ids)) >= 0

    def __repr__(self) -> str:
        content = self._content
        size = "empty" if content is None else f"{len(self)} vectors of width {content.tree.width}"
        leaves = "" if content is None else f" in {content.tree.leaf_count} leaves"
        state = "learning" if self._learning else "frozen"
        codes = (
            f"codec={self._recipe.codec!r}, precision={self._recipe.precision!r}, backend={self._backend!r}"
        )
        return f"<ErsIndex: {size}{leaves}, beam={self.beam}, refine={self.refine}, {codes}, {state}>"

    @property
    def metric(self) -> Metric:
        """Measure by which vectors are ranked, see the constructor."""
        return self._recipe.metric

    @property
    def ids(self) -> Ints:
        """``[N]``: the ids that the index has, ascending; a copy."""
        if self._content is None:
            return np.empty(0, np.int64)
        with self._lock.reading():
            return self._content.ids.living()

    def get(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.float32], dict[str, NDArray[Any]]]:
        """Vectors and metadata of some ids.

        Args:
            ids: ``[n]`` distinct, all of them in the index.

        Returns:
            Vectors ``[n, D]`` as they are kept (rounded, with ``precision="float16"``), and the metadata: per
            column ``[n]`` int64, float64, or texts as objects. All are copies.

        Raises:
            ValueError: If the index is empty or has no such id.
        """
        content = self._built("get")
        ids = check_ids(ids, None)
        with self._lock.reading():
            rows = content.ids.rows(ids)
            if (rows < 0).any():
                raise ValueError(f"get of id {ids[rows < 0][0]}: the index has no such id")
            return content.vectors.read(rows), content.columns.read(rows)

    @property
    def hierarchy(self) -> SemanticHierarchy:
        """The tree; ValueError before `build`."""
        return self._built("hierarchy").tree

    def build(
        self, vectors: NDArray[np.float32], ids: NDArray[np.int64], metadata: Metadata | None = None
    ) -> None:
        """See `retrieval.protocol.Retriever.build`.

        One pass over the vectors in chunks, after one over a sample. A memory-mapped array of the index's
        ``precision`` is kept as it is (leave the file alone), unless the metric is ``"cosine"``; any other is
        copied into memory.

        Args:
            vectors: ``[N, D]``.
            ids: ``[N]``.
            metadata: Columns to filter by, ``N`` texts or numbers each.

        Raises:
            ValueError: If there is no vector, one is zero, not finite or out of range (of float16 too, where
                they are kept so), or ids or metadata do not fit. The index stays as it was.
        """
        content = build_content(vectors, ids, metadata, self._recipe)
        content.wear.code_error = code_error(content, self._recipe.seed)
        content.priors = content.statistics.prior(self.success_weight, self.exploration)
        with self._one_change:
            self._content = content
            if self._recall is not None:
                self.tune(self._recall)

    def rebuild(self) -> None:
        """Builds the tree and the codes anew out of the vectors that are there; searches go on meanwhile.

        What feedback has taught is carried over; with a ``recall`` the index is tuned again. An index that is
        maintained seldom needs it: it is for those who want to choose the moment.

        Raises:
            ValueError: The index is empty or was never built.
        """
        with self._one_change:
            content = self._built("rebuild")
            if not len(content.ids):
                raise ValueError("rebuild of an index without vectors: add some first")
            start = time.perf_counter()
            self._exchange(rebuilt(content, self._recipe))
            content.wear.code_error = code_error(content, self._recipe.seed)
            content.wear.took(time.perf_counter() - start)
            if self._recall is not None:
                self.tune(self._recall)

    def tune(self, recall: float, queries: NDArray[np.float32] | None = None) -> None:
        """Sets `beam` and `refine` to the cheapest values that reach a recall@10.

        256 queries are searched exactly and by the index, at growing cost, until they find the share
        ``recall`` of their exact ten nearest, plus one standard error of the sample. Call it again after many
        changes, or with queries of your own.

        Args:
            recall: Share of the exact ten nearest that is to be found, above 0 and below 1.
            queries: ``[Q, D]`` like those to come, of which at most 256 are taken; None takes vectors of the
                index, which are not to find themselves. Queries of another kind than the vectors (texts that
                ask for shapes) lie elsewhere and may need more.

        Raises:
            ValueError: The index is empty, the recall is out of range, or the queries do not fit.
        """
        with self._one_change:
            content, recall = self._built("tune"), _share("recall", recall)
            if queries is None:
                if len(content.ids) == 1:  # it has no other to find
                    return
                sample = own_sample(content, self._recipe.seed)
            else:
                queries = self._checked(queries, "queries", content)
                if not len(queries):
                    raise ValueError("queries: expected at least one to tune for")
                sample = sample_of(content, queries, self._recipe.seed)
            self.beam, self.refine = tune(content, sample, recall)

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
        """See `retrieval.protocol.Retriever.search`.

        Where ``refine`` covers the whole index all of it is scored exactly, without codes. Ties are broken by
        the lowest id, among copies of a vector however many there are. ``k`` are found wherever ``k`` there
        are, see `retrieval.ers.state.IndexState.search`.

        Args:
            queries: ``[Q, D]``, not zero.
            k: How many, at most as many as the index holds.
            beam: Instead of the attribute.
            refine: Instead of the attribute.
            where: Metadata that results must have (see `retrieval.ers.metadata`); where at least ``k`` match,
                ``k`` are found.
            reranker: ``(query_rows [Q], candidate_ids [Q, C]) -> scores [Q, C]``, called once for the batch;
                ids are -1 where there is no candidate. Its scores decide and are returned.
            rerank: C, the candidates that the re-ranker sees, at least ``k``, at most all that there are.

        Raises:
            ValueError: If the index is empty or holds fewer than k, a query or the filter does not fit, a
                number is below 1 or not whole, or the re-ranker returns another shape or NaN.
        """
        content = self._built("search")
        k, rerank = whole("k", k), whole("rerank", rerank)
        beam = self.beam if beam is None else whole("beam", beam)
        refine = self.refine if refine is None else whole("refine", refine)
        queries = self._checked(queries, "queries", content)
        with self._lock.reading():
            if k > len(content.ids):
                raise ValueError(f"k={k}: the index holds {len(content.ids)}; ask for at most as many")
            wanted = k if reranker is None else min(max(k, rerank), len(content.ids))
            depth = max(refine, wanted)
            ids, scores = content.search(queries, wanted, beam, depth, where)
        return (ids, scores) if reranker is None else reranked(np.arange(len(ids)), ids, reranker, k)

    @property
    def learning(self) -> bool:
        """Whether feedback is counted, see `learn`."""
        return self._learning

    def learn(self) -> None:
        """From now on feedback is counted and changes the order in which leaves are visited."""
        self._built("learn")
        self._learning = True

    def freeze(self) -> None:
        """From now on nothing that is asked changes what is answered."""
        self._learning = False

    def feedback(self, query: NDArray[np.float32], id: int) -> None:
        """Records that ``id`` was the right answer to ``query``.

        Args:
            query: ``[D]``.
            id: In the index.

        Raises:
            ValueError: If the index is frozen, has no such id, or the query does not fit.
        """
        with self._one_change:
            content = self._built("feedback")
            if not self._learning:
                raise ValueError("feedback to a frozen index: call learn() first")
            queries = self._checked(np.asarray(query)[None], "query", content)
            id = whole("id", id, least=0, most=LARGEST_ID)
            row = int(content.ids.rows(np.array([id]))[0])
            if row < 0:
                raise ValueError(f"feedback for id {id}: the index has no such id")
            visited = [nodes[0][nodes[0] >= 0] for nodes in content.descend(queries, self.beam)]
            content.statistics.record(visited, content.tree.path(int(content.leaf_of_row[row])))
            content.priors = content.statistics.prior(self.success_weight, self.exploration)

    def save(self, folder: str | PathLike[str]) -> None:
        """Writes the index into a folder; killed at any moment, the folder holds the old content or the new.

        Raises:
            ValueError: If the index is empty, or the folder holds something else.
        """
        with self._one_change:
            content = self._built("save")
            newer: dict[str, Any] = {}  # older releases do not know these
            if self._recall is not None:
                newer["recall"] = self._recall
            if not self._maintain:
                newer["maintain"] = False
            if self._recipe.metric != "ip":
                newer["metric"] = self._recipe.metric
            header = {
                "engine": self.name,
                "vectors": len(content.ids),
                "width": content.tree.width,
                "settings": {
                    "beam": self.beam,
                    "refine": self.refine,
                    "codec": self._recipe.codec,
                    "precision": self._recipe.precision,
                    "leaves": self._recipe.leaves,
                    "depth": self._recipe.depth,
                    "success_weight": self.success_weight,
                    "exploration": self.exploration,
                    "half_life": self._recipe.half_life,
                    "seed": self._recipe.seed,
                    **newer,
                },
            }
            save_folder(Path(folder), lambda data: write_parts(data, content), header, written_bytes(content))

    @classmethod
    def load(cls, folder: str | PathLike[str], *, verify: bool = True, backend: Backend = "auto") -> ErsIndex:
        """Opens a saved index, frozen; the exact vectors stay on disk under a memory map.

        Args:
            folder: Written by `save`.
            verify: Compare all checksums, which reads every file once; sizes alone otherwise.
            backend: See the class; it is not saved, as another machine may lack it.

        Raises:
            ValueError: If there is none, a file is damaged or missing (which), or the schema is newer.
        """
        choose_backend(backend)

        def read(header: dict[str, Any], data: Path) -> ErsIndex:
            if header["engine"] != cls.name:
                raise ValueError(f"{folder} holds an index of engine {header['engine']!r}, not {cls.name!r}")
            try:
                index = cls(**header["settings"], backend=backend)
            except (TypeError, ValueError) as error:
                raise DamagedFileError(
                    f"{folder}: its manifest has settings of no index ({error})"
                ) from error
            content = read_parts(data, index._recipe)
            content.priors = content.statistics.prior(index.success_weight, index.exploration)
            index._content = content
            return index

        return read_folder(Path(folder), read, verify=verify)

    def resident_bytes(self) -> int:
        """Memory of the index; the exact vectors count unless they are memory-mapped, as after `load`."""
        with self._one_change:
            return self._built("resident_bytes").resident_bytes()

    def disk_bytes(self) -> int:
        """Bytes of the exact vectors that are memory-mapped, which searches read from; 0 if they are not."""
        with self._one_change:
            return self._built("disk_bytes").vectors.mapped_bytes
