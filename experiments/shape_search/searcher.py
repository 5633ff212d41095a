"""Searcher of a run's library: words or a shape in, ranked shapes out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor

from align3d.console.terminal import say
from align3d.console.typed_settings import setting
from align3d.errors import DataError, UserError, settings_of
from align3d.store import MANIFEST, Manifest
from durable.checksums import set_aside
from durable.file_lock import locked
from experiments.console.process import pick_device
from experiments.run_folder import checkpoint
from experiments.run_folder.finished_run import check_run, last_state
from experiments.run_folder.own_runs import OwnRun, may_import, own_run
from experiments.run_folder.readers import read_results
from experiments.run_folder.text_reading import tell_other_reading
from experiments.settings.named_again import ENCODER, IMPORTS, NOTHING, Named
from experiments.shape_search.answers import Answer, Answers, FittingCaption, Stopwatch
from experiments.shape_search.library_files import (
    INDEX,
    LibraryFiles,
    LibraryHeader,
    is_small,
    open_library,
)
from experiments.shape_search.query_calibration import Choice, calibration_of, fixed_strengths
from experiments.shape_search.query_encoder import QueryEncoder
from experiments.shape_search.relevance import backend_for, moved
from experiments.shape_search.where_filters import CAPTION, CATEGORY, ID, matching, rows_matching
from models import (
    AlignmentModel,
    AttentionState,
    Calibration,
    Library,
    LibraryEvidence,
    ModelConfig,
    PointHierarchy,
    TextEmbedding,
)
from models.library import pair_recall
from models.memory import CONTEXT
from models.text import DEFAULT, TextFeatures
from retrieval import ErsIndex

if TYPE_CHECKING:
    from experiments.shape_search.shape_query import ShapeCloud

SEARCH = "search"
"""Folder of a run's libraries."""
VERSION = 3


@dataclass(frozen=True)
class Considered:
    """Candidates of a query and HAF's attention to them.

    Attributes:
        words: The words and numbers of the query, as the model reads them.
        rows: ``[C]`` rows of the candidates in the library.
        attention: Batch ``[1]``.
        embedding: ``[1, E]`` of the query.
        added: Rows that ERS did not find.
    """

    words: tuple[str, ...]
    rows: Tensor
    attention: AttentionState
    embedding: Tensor
    added: tuple[int, ...] = ()


class Searcher:
    """Search of a run's own shapes, or of those of a built dataset, by the run's model.

    The first search of a run makes its library, which may take minutes; later ones open it.

    Args:
        run: Folder of a finished run.
        dataset: Folder of a dataset that align3d.build wrote; None for the run's own data.
        calibration: Of HAF: ``auto`` is the agent's where it acts, else the one that is the same for all
            queries, if known pairs gain anything.
        candidates: Shapes that HAF re-ranks; None for as many as in the run's evaluation.
        device: Where the library is made; queries are computed on the CPU.
        verify: Whether every file of the library is compared with its checksum first; None: of one of up to
            200 MB. A library that is damaged is set aside and made anew.
        named: Of a run that was not begun on this machine: what of that which it names is followed, such as
            ``{"imports": ["my_module"], "data.root": FOLDER}``; see SECURITY.md.

    Attributes:
        library: What is searched.
        index: ERS over the library's shapes; ids are its rows.
        agent: The run's agent, where it acts and is asked for.
        calibrated: The calibration of queries, in words.
        fixed: Strengths of recall and hubness that are the same for all queries; None without any.

    Raises:
        UserError: There is no finished run, its data have changed, a setting does not fit, or the run names
            what is not followed.
    """

    def __init__(
        self,
        run: str | Path,
        dataset: str | Path | None = None,
        *,
        calibration: Choice = "auto",
        candidates: int | None = None,
        device: str = "cpu",
        verify: bool | None = None,
        named: Named = NOTHING,
    ) -> None:
        run, other = Path(run), None if dataset is None else Path(dataset)
        self._device = pick_device(device)
        place = check_run(run)
        results = read_results(run)
        self.library, self.index = _opened(run, other, place, results, self._device, verify, named)
        header = self.library.header
        own = own_run(run)
        _check_encoder(run, header, own, named)
        state = last_state(run)
        tell_other_reading(run, state)
        self.model = _model(run, header, state)
        self._encoder = QueryEncoder(
            header.encoder, max_tokens=header.max_tokens, decimal_comma=header.decimal_comma
        )
        with settings_of(f"train.text_encoder={header.encoder}"):
            self._encoder.check()
        self._candidates = candidates or header.candidates
        shapes, memory = self.library.shapes, self.library.memory
        self._known = None
        if memory is not None:
            self._known = Library(
                memory, shapes["embedding"], shapes["recalled"], shapes["hubness"], shapes["likeness"]
            )
        modules = [module for module in header.imports if may_import(module, own, named.get(IMPORTS, ()))]
        self._by_text, self._by_shape = (
            calibration_of(
                calibration,
                direction,
                self.model,
                header,
                results,
                state,
                remembers=memory is not None,
                imported=modules,
            )
            for direction in ("text_to_shape", "shape_to_text")
        )
        self.agent = self._by_text.agent
        self.calibrated = self._by_text.words
        self.fixed = fixed_strengths(results, "text_to_shape") if memory is not None else None
        self._columns: dict[str, Sequence[str]] = {
            CATEGORY: header.categories,
            CAPTION: [own[0] for own in header.captions],
            ID: header.ids,
        }

    def __len__(self) -> int:
        """Number of shapes."""
        return len(self.library)

    @torch.no_grad()
    def search(
        self,
        query: str,
        k: int = 10,
        where: str | None = None,
        *,
        like: Sequence[int] = (),
        unlike: Sequence[int] = (),
    ) -> Answers:
        """Shapes that words describe.

        Args:
            query: The words.
            k: How many shapes, at most as many as there are.
            where: Filter, see `experiments.shape_search.where_filters`.
            like: Rows of shapes that are meant, towards which the query is moved.
            unlike: Rows of shapes that are not meant: they are left out, and the query is moved away.

        Raises:
            UserError: No word in the query, k out of range, or a filter that nothing fits.
        """
        watch = Stopwatch()
        chosen, count = self._filtered(where, k, unlike)
        with watch.stage("encode"):
            text = self._encoded(query)
            if like or unlike:
                vectors = self.library.shapes["embedding"].numpy()
                text.embedding = torch.from_numpy(moved(text.embedding.numpy(), vectors, like, unlike))
        with watch.stage("ers"):
            rows = self._nearest(text.embedding, max(count, self._candidates), chosen, unlike)
        with watch.stage("memory"):
            evidence = None
            if self._known is not None:
                evidence = self._known.evidence(text.embedding, rows.unsqueeze(0), self.model.logit_scale)
        with watch.stage("rerank"):
            shapes = self._shapes(rows)
            every = torch.arange(len(rows)).unsqueeze(0)
            attention = self.model.attend(text, shapes, every, library=evidence)
            scores = self._by_text.scores(attention)[0]
            best = scores.argsort(descending=True, stable=True)[:count]
        found = self._answers(rows[best], scores[best])
        kind, words = self._by_text.kind, self._by_text.words
        return Answers(query, "HAF", kind, words, where or "", found, len(self), (), watch.seconds)

    @torch.no_grad()
    def consider(self, query: str, include: Sequence[int] = (), where: str | None = None) -> Considered:
        """What HAF attends to where words ask: the candidates that it re-ranks, and its attention.

        Args:
            query: The words.
            include: Rows of shapes that are to be among the candidates; they stand in for the last of those
                that ERS finds, where they are not among them.
            where: Filter of the candidates.

        Raises:
            UserError: No word in the query, or a filter that nothing fits.
        """
        chosen, _ = self._filtered(where, 1, ())
        read = self._read(query)
        text = self.model.encode_text(read)
        rows = self._nearest(text.embedding, min(self._candidates, len(self)), chosen, ())
        missing = [row for row in include if row not in rows.tolist()]
        if missing:
            rows = torch.cat([rows[: len(rows) - len(missing)], torch.tensor(missing)])
        evidence = None
        if self._known is not None:
            evidence = self._known.evidence(text.embedding, rows.unsqueeze(0), self.model.logit_scale)
        every = torch.arange(len(rows)).unsqueeze(0)
        attention = self.model.attend(text, self._shapes(rows), every, library=evidence)
        return Considered(tuple(read.strings[0]), rows, attention, text.embedding, tuple(missing))

    @torch.no_grad()
    def calibrate(self, considered: Considered) -> Calibration | None:
        """The calibration of a query, batch ``[1]``; None where HAF is left as it is.

        Its association acts on the candidate that ranks first under HAF alone.
        """
        return self._by_text.calibrate(considered.attention)

    @torch.no_grad()
    def search_shape(
        self,
        shape: str | Path | ShapeCloud,
        k: int = 10,
        where: str | None = None,
        *,
        unit_m: float | None = None,
        up: str | None = None,
    ) -> Answers:
        """Shapes that are like the one in a file, and captions that fit it.

        Args:
            shape: File of a mesh or a point cloud; or what was read from one.
            k: How many of each, at most as many shapes as there are.
            where: Filter of the shapes.
            unit_m: Unit of the file in meters; None: as its format has it.
            up: Axis that points up in it; None: as its format has it.

        Raises:
            UserError: The file cannot be read, or as `search`.
        """
        from experiments.shape_search.shape_query import (  # readers of meshes are slow to load
            ShapeCloud,
            encoded_cloud,
            shape_cloud,
        )

        watch, header = Stopwatch(), self.library.header
        chosen, count = self._filtered(where, k, ())
        with watch.stage("encode"):
            if not isinstance(shape, ShapeCloud):
                shape = shape_cloud(Path(shape), header, unit_m=unit_m, up=up)
            encoded = encoded_cloud(shape, self.model, header)
        with watch.stage("ers"):
            rows = self._nearest(encoded.embedding, count, chosen, ())
            cosines = self.library.shapes["embedding"][rows] @ encoded.embedding[0]
        captions = self._fitting(encoded, min(k, len(header.texts)), watch)
        kind, words = self._by_shape.kind, self._by_shape.words
        found = self._answers(rows, cosines)
        return Answers(
            shape.name, "cosine", kind, words, where or "", found, len(self), captions, watch.seconds
        )

    def teach(self, query: str, row: int) -> str:
        """Has ERS learn that a shape was meant by a query; what it learned is kept in the library's index.

        Leaves that held right answers are visited sooner from then on (`retrieval.ers.feedback`).

        Returns:
            One line on what is kept.

        Raises:
            UserError: The index cannot be written to.
        """
        folder = self.library.folder / INDEX
        embedding = self._encoded(query).embedding[0].numpy()
        try:
            with locked(self.library.folder / ".index.lock"):
                with settings_of(f"{self.library.folder}, which may be deleted and is then made anew"):
                    index = _index(self.library, verify=True)  # with what other sessions have taught it
                index.learn()
                index.feedback(embedding, row)
                index.freeze()
                index.save(folder)
        except OSError as error:
            raise UserError(
                f"{folder}: cannot be taught, it cannot be written to ({error.strerror})"
            ) from error
        self.index = index
        return f"ERS has learned that; it is kept in {folder}"

    def clouds(self, rows: Sequence[int]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Points ``[n, P, 3]`` of shapes, z up, and their colors ``[n, P, 3]``, to draw them by."""
        at = torch.tensor(list(rows), dtype=torch.int64)
        shapes = self.library.shapes
        return shapes["cloud"][at].float().numpy(), shapes["colors"][at].numpy()

    def _filtered(
        self, where: str | None, k: int, unlike: Sequence[int]
    ) -> tuple[dict[str, list[str]] | None, int]:
        """Values that a filter lets through, and how many shapes are to be found.

        Raises:
            UserError: k is out of range, or nothing fits.
        """
        if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= len(self):
            raise UserError(
                f"k={k}: expected a whole number from 1 to {len(self):,}, the shapes that there are"
            )
        if where is None:
            if len(set(unlike)) == len(self):
                raise UserError("no shape is left: all of them are not meant")
            return None, min(k, len(self) - len(set(unlike)))
        values = matching(where, self._columns)
        rows = set(rows_matching(values, self._columns)) - set(unlike)
        if not rows:
            raise UserError(f"where={where}: no shape fits all of it")
        return values, min(k, len(rows))

    def _encoded(self, query: str) -> TextEmbedding:
        return self.model.encode_text(self._read(query))

    def _read(self, query: str) -> TextFeatures:
        with settings_of("query"):
            features = self._encoder.encode([query])
        if not features.strings[0]:
            raise UserError(f"{query!r}: no word or number to search for")
        if features.cut:
            read = self.library.header.max_tokens
            say(f"the model reads the first {read} words and numbers of the query", error=True)
        if features.unknown.total() == len(features.strings[0]):
            raise UserError(f"{query!r}: the text encoder knows none of its words; say it in others")
        if features.unknown:
            say(f"the text encoder does not know: {', '.join(features.unknown)}", error=True)
        return features

    def _nearest(
        self, query: Tensor, count: int, chosen: dict[str, list[str]] | None, unlike: Sequence[int]
    ) -> Tensor:
        """Rows of the shapes nearest to a query ``[1, E]``, as many as asked for or as there are."""
        wanted = min(count + len(unlike), len(self))
        ids, _ = self.index.search(query.numpy(), wanted, where=chosen)
        kept = (ids[0] >= 0) & ~np.isin(ids[0], np.asarray(unlike, np.int64))
        return torch.from_numpy(ids[0][kept][:count])

    def _shapes(self, rows: Tensor) -> PointHierarchy:
        parts = self.library.shapes
        return PointHierarchy(
            nodes=parts["nodes"][rows].float(),
            centers=parts["centers"][rows].float(),
            region=parts["region"][rows].long(),
            extent=parts["extent"][rows],
            spectrum=parts["spectrum"][rows].float(),
            embedding=parts["embedding"][rows],
        )

    def _answers(self, rows: Tensor, scores: Tensor) -> tuple[Answer, ...]:
        header = self.library.header
        return tuple(
            Answer(
                rank,
                float(score),
                header.ids[row],
                header.captions[row][0],
                header.categories[row],
                header.files[row],
                row,
            )
            for rank, (row, score) in enumerate(zip(rows.tolist(), scores.tolist(), strict=True), 1)
        )

    def _fitting(self, shape: PointHierarchy, k: int, watch: Stopwatch) -> tuple[FittingCaption, ...]:
        """Captions that fit a shape, batch ``[1]``: the nearest by embedding, in HAF's order."""
        texts, scale = self.library.texts, self.model.logit_scale
        with watch.stage("memory"):
            similarity = texts["embedding"] @ shape.embedding[0]
            rows = similarity.topk(min(max(k, self._candidates), len(similarity))).indices
            evidence = self._evidence(texts, rows, shape, scale)
        with watch.stage("rerank"):
            text = TextEmbedding(
                texts["tokens"][rows].float(),
                texts["mask"][rows],
                texts["quantities"][rows],
                texts["embedding"][rows],
            )
            only = torch.zeros(len(rows), 1, dtype=torch.int64)
            attention = self.model.attend(text, shape, only, library=evidence)
            scores = self._by_shape.scores(attention)[:, 0]
            best = scores.argsort(descending=True, stable=True)[:k]
        names = self.library.header.texts
        pairs = zip(rows[best].tolist(), scores[best].tolist(), strict=True)
        return tuple(FittingCaption(rank, score, names[row]) for rank, (row, score) in enumerate(pairs, 1))

    def _evidence(
        self, texts: dict[str, Tensor], rows: Tensor, shape: PointHierarchy, scale: Tensor
    ) -> LibraryEvidence | None:
        """What known pairs say of captions at ``rows`` ``[C]`` with one shape."""
        memory = self.library.memory
        if memory is None:
            return None
        recall = pair_recall(
            texts["embedding"][rows],
            shape.embedding,
            texts["recalled"][rows],
            memory.recall(shape.embedding, "shape"),
            scale,
        )
        hubness = texts["hubness"][rows] if "hubness" in texts else torch.zeros_like(recall)
        context = torch.zeros(len(rows), len(CONTEXT))
        return LibraryEvidence(recall.unsqueeze(1), hubness.unsqueeze(1), context, batch_size=[len(rows)])


def _model(run: Path, header: LibraryHeader, state: dict[str, Any]) -> AlignmentModel:
    """The run's model, in evaluation mode.

    Raises:
        UserError: Its code has changed.
    """
    model = AlignmentModel(ModelConfig(**header.model), state["text_width"])
    try:
        model.load_state_dict(state["model"])
    except RuntimeError as error:
        line = " ".join(str(error).split())
        raise UserError(f"run={run}: the model's code has changed since ({line[:120]}…)") from error
    return model.eval().requires_grad_(False)


def _check_encoder(run: Path, header: LibraryHeader, own: OwnRun | None, named: Named) -> None:
    """Refuses a text encoder that nobody has named here: its folder may hold anything.

    Raises:
        UserError: The library names such a one.
    """
    known = (DEFAULT, named.get(ENCODER), own and own.text_encoder)
    if header.encoder not in known:
        raise UserError(
            f"run={run}: its text encoder was not typed on this machine, so it is not loaded; add to the "
            f"command if you trust it: {setting(ENCODER, header.encoder)}"
        )


def _opened(
    run: Path,
    dataset: Path | None,
    place: Path,
    results: dict[str, Any],
    device: torch.device,
    verify: bool | None,
    named: Named,
) -> tuple[LibraryFiles, ErsIndex]:
    """The library of a run and its index, made where there are none or where the run was trained since.

    A library that is damaged is set aside, with a line on stderr, and made anew.

    Raises:
        UserError: It cannot be made, or not be kept.
    """
    content = results["dataset"]["hash"] if dataset is None else _dataset_hash(dataset)
    key = f"{VERSION} {content} {checkpoint.fingerprint(place)}"
    folder = run / SEARCH / content[:16]
    found, fault = _checked(folder, key, verify)
    if found is not None:
        return found
    if not os.access(run, os.W_OK):
        reason = "" if fault is None else f"; the one that is there is damaged: {fault}"
        raise UserError(
            f"run={run}: its library cannot be kept there; copy the folder to where you may write{reason}"
        )
    from experiments.shape_search.make_library import make_library  # what trains a model is slow to load

    with locked(run / SEARCH / ".library.lock", advice="copy the run to another file system"):
        found, fault = _checked(folder, key, verify)
        if fault is not None:
            set_aside(folder, str(fault))
        if found is None:
            make_library(run, dataset, folder, key, device, named)
            found, fault = _checked(folder, key, verify)
    if found is None:
        raise UserError(f"{folder}: the library that was just made cannot be read ({fault})")
    return found


def _checked(
    folder: Path, key: str, verify: bool | None
) -> tuple[tuple[LibraryFiles, ErsIndex] | None, Exception | None]:
    """A library with its index, and what is wrong with it; None and None where there is none of that key."""
    whole = is_small(folder) if verify is None else verify
    try:
        library = open_library(folder, key, verify=whole)
        return (None if library is None else (library, _index(library, verify=whole))), None
    except (ValueError, TypeError, SafetensorError) as error:
        return None, error


def _index(library: LibraryFiles, *, verify: bool) -> ErsIndex:
    """The library's index, with what it has been taught.

    Raises:
        ValueError: It is damaged.
    """
    return ErsIndex.load(library.folder / INDEX, verify=verify, backend=backend_for(len(library)))


def _dataset_hash(folder: Path) -> str:
    """Content hash of a dataset, without opening it.

    Raises:
        UserError: There is none, or its manifest is damaged.
    """
    if not (folder / MANIFEST).is_file():
        raise UserError(f"dataset={folder}: no dataset there; give a folder that align3d.build wrote")
    try:
        return Manifest.read(folder).hash
    except DataError as error:
        raise UserError(f"dataset={folder}: {error}") from error
