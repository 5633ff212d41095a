"""An index with a memory of known pairs around any engine: it searches folded vectors.

See `retrieval.memory.known_pairs` for the two terms, and `retrieval.memory.folding` for how they become one
inner product.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from durable.errors import DamagedFileError
from retrieval.engines import engine_class, search_params_of
from retrieval.memory.folding import Folding, fold_queries, fold_vectors, strength, unfold_vectors
from retrieval.memory.known_pairs import KnownPairs
from retrieval.memory.own_pairs import OwnPairs, check_places
from retrieval.protocol import Retriever
from retrieval.storage import read_folder, save_folder
from retrieval.validation import LARGEST_ID, Checked, check_content, check_vectors, whole

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Places = NDArray[np.integer]

_CHUNK = 16_384
_ASKING = 256  # known queries that settings are tuned on
_ENGINE, _OWN = "engine", "own_pairs.safetensors"


class MemoryIndex:
    """An engine that ranks by ``(q + a recall(q)) . s - λ hubness(s)``; fulfills `Retriever`.

    The strengths are plain attributes that may be set at any time: they change the queries, not what the
    engine holds. With both at 0 the order is the plain one. What the engine cannot do (change, save, return
    vectors) is refused in a line that says so.

    **Threads**: as many may search as the engine allows; a change waits for the one before.

    Attributes:
        engine: What searches; it holds the folded vectors, so ask it nothing directly.
        memory: The bank. What is added to it is recalled from then on; hubness follows at `refresh`.
        recall: Strength ``a``, 0 or more.
        hubness: Strength ``λ``, 0 or more.
    """

    recall = Checked(strength)
    hubness = Checked(strength)

    def __init__(
        self, engine: Retriever, memory: KnownPairs, *, recall: float = 1.0, hubness: float = 1.0
    ) -> None:
        """Wraps an empty engine.

        Args:
            engine: Of any kind, see `retrieval.make_index`.
            memory: Known pairs; an empty bank makes a plain index that can be taught.
            recall: See the class.
            hubness: See the class.

        Raises:
            ValueError: A strength is below 0 or no number, or the engine ranks by the cosine.
        """
        if getattr(engine, "metric", "ip") != "ip":
            raise ValueError(
                f"{engine.name} with metric={engine.metric!r} around a memory: expected 'ip', for lengths of "  # type: ignore[attr-defined]
                "folded queries count; bring your vectors to unit length instead"
            )
        self.engine, self.memory = engine, memory
        self.recall, self.hubness = recall, hubness
        self._folding: Folding | None = None
        self._own = OwnPairs()
        self._one_change = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        """For `pickle` and `copy.deepcopy`; the engine must allow them too."""
        with self._one_change:
            return {name: value for name, value in self.__dict__.items() if name != "_one_change"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._one_change = threading.RLock()

    def __len__(self) -> int:
        return len(self.engine) if self._folding is not None else 0  # type: ignore[arg-type]

    def __contains__(self, id: object) -> bool:
        return self._folding is not None and id in self.engine  # type: ignore[operator]

    def __repr__(self) -> str:
        strengths = f"recall={self.recall:g}, hubness={self.hubness:g}"
        return f"<MemoryIndex: {strengths}, {self.memory!r} around {self.engine!r}>"

    @property
    def name(self) -> str:
        """The engine's with ``+memory``."""
        return f"{self.engine.name}+memory"

    @property
    def search_params(self) -> Mapping[str, tuple[int, ...]]:
        """The engine's; they are set on `engine`."""
        return search_params_of(self.engine)

    @property
    def ids(self) -> Ints:
        """``[N]``: the ids that the engine has, ascending."""
        found: Ints = self._of_engine("ids")
        return found

    def build(
        self,
        vectors: NDArray[np.float32],
        ids: NDArray[np.int64],
        metadata: Any = None,
        *,
        leave_out: Places | None = None,
    ) -> None:
        """See `Retriever.build`; computes the hubness of all vectors and folds them, in memory.

        Args:
            vectors: ``[N, D]``, of unit length.
            ids: ``[N]``.
            metadata: For an engine that takes them.
            leave_out: ``[N, P]`` places in the bank of the pairs that mean each vector, -1 for none: they are
                left out of its hubness (see `KnownPairs.hubness`), also when it is computed again.

        Raises:
            ValueError: As the engine does, or if places or widths do not fit. The index stays as it was.
        """
        vectors, ids = check_content(vectors, ids)
        check_places(leave_out, ids)
        with self._one_change:
            hubness, own = self.memory.hubness(vectors, leave_out), OwnPairs().replaced(ids, leave_out)
            folding = Folding.of(vectors.shape[1], hubness)
            self.engine.build(fold_vectors(vectors, hubness, folding), ids, **_given(metadata))
            self._folding, self._own = folding, own

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        *,
        recall: float | None = None,
        hubness: float | None = None,
        **settings: Any,
    ) -> tuple[Ints, Floats]:
        """See `Retriever.search`.

        Args:
            queries: ``[Q, D]``, of unit length.
            k: How many.
            recall: Instead of the attribute.
            hubness: Instead of the attribute.
            settings: What else the engine takes, such as ``where``, ``reranker`` or ``beam``.

        Returns:
            ``(ids [Q, k], scores [Q, k])``; scores are those of the formula, or the re-ranker's.

        Raises:
            ValueError: As the engine does, or a strength is below 0.
        """
        folding = self._built("search")
        hubness = self.hubness if hubness is None else strength("hubness", hubness)
        folded = self._fold_queries(queries, folding, self.recall if recall is None else recall, hubness)
        ids, scores = self.engine.search(folded, k, **settings)
        if settings.get("reranker") is None:
            scores = scores - np.float32(hubness * folding.mean)
        return ids, scores

    def get(self, ids: NDArray[np.int64]) -> tuple[Floats, Any]:
        """Vectors ``[n, D]`` and metadata under some ids, see `retrieval.ErsIndex.get`."""
        folding = self._built("get")
        folded, metadata = self._of_engine("get")(ids)
        return unfold_vectors(folded, folding)[0], metadata

    def add(
        self,
        vectors: NDArray[np.float32],
        ids: NDArray[np.int64],
        metadata: Any = None,
        *,
        leave_out: Places | None = None,
    ) -> None:
        """Adds vectors under new ids with their hubness; arguments as of `build`, errors as the engine's."""
        self._change("add", vectors, ids, metadata, leave_out)

    def update(
        self,
        vectors: NDArray[np.float32] | None,
        ids: NDArray[np.int64],
        metadata: Any = None,
        *,
        leave_out: Places | None = None,
    ) -> None:
        """Replaces vectors (None keeps them), metadata or both, and with vectors their hubness.

        Without ``leave_out`` the pairs that mean an id stay those that they were.
        """
        self._change("update", vectors, ids, metadata, leave_out)

    def upsert(
        self,
        vectors: NDArray[np.float32],
        ids: NDArray[np.int64],
        metadata: Any = None,
        *,
        leave_out: Places | None = None,
    ) -> None:
        """Adds vectors, replacing those whose ids are there."""
        self._change("upsert", vectors, ids, metadata, leave_out)

    def remove(self, ids: NDArray[np.int64]) -> None:
        """Takes vectors out; the pairs that mean them stay known."""
        with self._one_change:
            self._built("remove")
            left = self._own.replaced(ids, None)
            self._of_engine("remove")(ids)
            self._own = left

    def learn(self) -> None:
        """From now on feedback changes the engine's own statistics too, see `retrieval.ErsIndex.learn`."""
        self._of_engine("learn")()

    def freeze(self) -> None:
        """Ends `learn`. Feedback is a known pair all the same."""
        self._of_engine("freeze")()

    def feedback(self, query: NDArray[np.float32], id: int) -> None:
        """Records that ``id`` was the right answer to ``query``: a known pair, recalled from now on.

        It counts among the pairs that mean ``id``. The hubness of the other vectors does not know of it
        before `refresh`. An engine that learns gets the pairs as well.

        Args:
            query: ``[D]``, of unit length.
            id: In the index.

        Raises:
            ValueError: The engine returns no vectors or has no such id, or the query does not fit.
        """
        with self._one_change:
            folding = self._built("feedback")
            id = whole("id", id, least=0, most=LARGEST_ID)
            value, _ = self.get(np.array([id]))
            key = check_vectors(np.asarray(query)[None], "query", folding.width)
            if getattr(self.engine, "learning", False):
                folded = self._fold_queries(key, folding, self.recall, self.hubness)
                self._of_engine("feedback")(folded[0], id)
            self._own.append(id, int(self.memory.add(key, value)[0]))

    def refresh(self) -> int:
        """Computes all hubness anew, after the bank has grown or its ``beta`` has changed.

        Vectors whose hubness moved are updated in the engine; the tree and the codes' books stay. Searches go
        on meanwhile.

        Returns:
            How many moved.

        Raises:
            ValueError: The engine cannot change vectors: build it again.
        """
        with self._one_change:
            folding, moved = self._built("refresh"), 0
            get, update = self._of_engine("get"), self._of_engine("update")
            ids = self.ids
            for at in range(0, len(ids), _CHUNK):
                some = ids[at : at + _CHUNK]
                folded, _ = get(some)
                vectors, before = unfold_vectors(folded, folding)
                hubness = self.memory.hubness(vectors, self._own.of(some))
                changed = np.abs(hubness - before) > 1e-6
                if changed.any():
                    update(fold_vectors(vectors[changed], hubness[changed], folding), some[changed])
                    moved += int(changed.sum())
            return moved

    def health(self) -> Any:
        """Maintenance owed by the engine, see `retrieval.ErsIndex.health`."""
        self._built("health")
        return self._of_engine("health")()

    def rebuild(self) -> None:
        """Builds the engine anew out of what it holds, see `retrieval.ErsIndex.rebuild`."""
        with self._one_change:
            self._built("rebuild")
            self._of_engine("rebuild")()

    def tune(self, recall: float, queries: NDArray[np.float32] | None = None) -> None:
        """Sets the engine's search parameters for a recall@10, see `retrieval.ErsIndex.tune`.

        Args:
            recall: Share of the exact ten nearest that is to be found.
            queries: ``[Q, D]``; by default known ones, which are of the kind that comes; they do not recall
                themselves.

        Raises:
            ValueError: As the engine does, or if there are neither queries nor two known pairs.
        """
        folding, own = self._built("tune"), None
        if queries is None:
            keys = self.memory.keys
            if len(keys) < 2:
                raise ValueError(f"tune with {len(keys)} known pairs: give queries, or add pairs first")
            places = np.random.default_rng(0).permutation(len(keys))[:_ASKING]
            queries, own = keys[places], places[:, None]
        folded = self._fold_queries(queries, folding, self.recall, self.hubness, own)
        self._of_engine("tune")(recall, folded)

    def resident_bytes(self) -> int:
        """Bytes of the engine, which holds the two columns, and of the memory."""
        return int(self._of_engine("resident_bytes")()) + self.memory.resident_bytes() + self._own.nbytes

    def save(self, folder: str | PathLike[str]) -> None:
        """Writes index and memory into one folder, whole or not at all; see `retrieval.storage`.

        Raises:
            ValueError: The index is empty, its engine cannot be saved, or the folder holds something else.
        """
        with self._one_change:
            folding, save = self._built("save"), self._of_engine("save")

            def write(data: Path) -> None:
                self.memory.write(data)
                save_file(self._own.arrays(), data / _OWN)
                save(data / _ENGINE)

            header = {
                "engine": "memory",
                "around": self.engine.name,
                "strengths": {"recall": self.recall, "hubness": self.hubness},
                "folding": asdict(folding),
                "known_pairs": self.memory.header(),
            }
            save_folder(Path(folder), write, header, self.resident_bytes())

    @classmethod
    def load(cls, folder: str | PathLike[str], *, verify: bool = True, **settings: Any) -> MemoryIndex:
        """Opens a saved index.

        Args:
            folder: Written by `save`.
            verify: Compare all checksums, which reads every file once; sizes alone otherwise.
            settings: What else the engine's ``load`` takes, such as ``backend``.

        Raises:
            ValueError: If there is none, or a file is damaged or missing (which).
        """

        def read(header: dict[str, Any], data: Path) -> MemoryIndex:
            if header.get("engine") != "memory":
                raise ValueError(f"{folder} holds an index without memory: take the load of its engine")
            kind = engine_class(header["around"])
            if not hasattr(kind, "load"):
                raise DamagedFileError(f"{folder}: an index around {header['around']}, which cannot be saved")
            engine = kind.load(data / _ENGINE, verify=False, **settings)
            memory, folding = KnownPairs.read(header["known_pairs"], data), Folding(**header["folding"])
            try:
                index = cls(engine, memory, **header["strengths"])
                folding.check(memory.width)
            except (TypeError, ValueError) as error:
                fault = f"its manifest has settings of no index ({error})"
                raise DamagedFileError(f"{folder} is damaged: {fault}") from error
            tree = getattr(engine, "hierarchy", None)
            if tree is not None and tree.width != folding.folded_width:
                raise DamagedFileError(
                    f"{data / _ENGINE} holds vectors of width {tree.width}, expected {folding.folded_width}"
                )
            index._folding, index._own = folding, OwnPairs.read(data / _OWN, len(memory))
            return index

        return read_folder(Path(folder), read, verify=verify)

    def _change(
        self,
        what: str,
        vectors: NDArray[np.float32] | None,
        ids: NDArray[np.int64],
        metadata: Any,
        leave_out: Places | None,
    ) -> None:
        with self._one_change:
            folding, change = self._built(what), self._of_engine(what)
            check_places(leave_out, ids)
            if vectors is None:
                if leave_out is not None:
                    raise ValueError("leave_out without vectors: give the vectors, whose hubness it changes")
                change(None, ids, **_given(metadata))
                return
            vectors = check_vectors(vectors, "vectors", folding.width)
            own = self._own.of(ids) if leave_out is None else leave_out
            after = self._own if leave_out is None else self._own.replaced(ids, leave_out)
            change(fold_vectors(vectors, self.memory.hubness(vectors, own), folding), ids, **_given(metadata))
            self._own = after

    def _fold_queries(
        self,
        queries: NDArray[np.float32],
        folding: Folding,
        recall: float,
        hubness: float,
        leave_out: Places | None = None,
    ) -> Floats:
        queries = check_vectors(queries, "queries", folding.width)
        recalled = self.memory.recall(queries, leave_out) if recall else np.zeros_like(queries)
        return fold_queries(queries, recalled, folding, recall=recall, hubness=hubness)

    def _built(self, what: str) -> Folding:
        if self._folding is None:
            raise ValueError(f"{what} on an empty index: call build(vectors, ids) first")
        return self._folding

    def _of_engine(self, name: str) -> Any:
        found = getattr(self.engine, name, None)
        if found is None:
            raise ValueError(f"the engine {self.engine.name} has no {name}: take ers, or build it again")
        return found


def _given(metadata: Any) -> dict[str, Any]:
    """The argument, only where there is one: most engines take none."""
    return {} if metadata is None else {"metadata": metadata}
