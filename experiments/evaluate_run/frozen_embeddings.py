"""Subject of embeddings that another model has made, from files: shapes, captions, prompts and distractors.

Which rows are whose says the table beside each file, see `experiments.shape_search.outside_vectors`. Known
pairs are the shapes of split ``train`` and their captions; strengths of recall and hubness are chosen on
split ``reward``, or on known shapes that are held out for it where there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from align3d.captions import normalize_caption
from align3d.console.terminal import say
from align3d.errors import DataError, UserError
from align3d.sources.benchmarks.restricted_pickle import load_untrusted
from durable.checksums import file_sha256
from experiments.evaluate_run.evaluate_options import Asked
from experiments.evaluate_run.labeled_shapes import (
    REWARD,
    TEST,
    TRAIN,
    LabeledShapes,
    of_data,
    of_run,
    of_table,
)
from experiments.evaluate_run.subject import Captions, Known, Prompted, Subject, Vectors
from experiments.index_evaluation.strengths import choose_strengths
from experiments.shape_search.outside_vectors import OutsideVectors, read_outside, unit_vectors
from experiments.tasks.prompts import class_embeddings, same_class
from models import AlignmentMemory

if TYPE_CHECKING:
    from experiments.data.corpus import Corpus

NAMED = 3
"""Ids that a message names."""
HELD_OUT, LEAST, MOST = 0.1, 20, 1_000
"""Share of the known shapes that strengths are chosen on where there is no split for that, and its bounds."""


@dataclass(frozen=True)
class Split:
    """Shapes of a split with their captions. ``M`` shapes, ``Q`` captions.

    Attributes:
        shapes: ``[M, E]``.
        texts: ``[Q, E]``.
        forms: Q, by which captions are told apart.
        pairs: ``[P, 2]`` a caption and a shape that it is of.
    """

    shapes: NDArray[np.float32]
    texts: NDArray[np.float32]
    forms: list[str]
    pairs: NDArray[np.int64]

    @cached_property
    def positives(self) -> NDArray[np.bool_]:
        """``[Q, M]``: which caption is of which shape."""
        found = np.zeros((len(self.texts), len(self.shapes)), bool)
        found[self.pairs[:, 0], self.pairs[:, 1]] = True
        return found


@dataclass
class Frozen(Subject):
    """Embeddings from files.

    Attributes:
        asked: Settings of the command.
        variant: What the shapes are, in words.
        labeled: What is known of the shapes.
        shapes: ``[N, E]`` of all of them.
        texts: Embeddings of captions, whose ids are those of shapes; None without any.
        prompts: Embeddings of prompts and the class of each; None without any.
        others: ``[D, E]`` distractors.
        files: SHA-256 of each file, by the setting that names it.
    """

    asked: Asked
    variant: str
    labeled: LabeledShapes
    shapes: NDArray[np.float32]
    texts: OutsideVectors | None
    prompts: tuple[NDArray[np.float32], list[str]] | None
    others: NDArray[np.float32]
    files: dict[str, str]

    @cached_property
    def categories(self) -> list[str]:
        """Label of each shape; blank without one."""
        return [self.labeled.categories[row] for row in self.labeled.splits[TEST].tolist()]

    @cached_property
    def vectors(self) -> NDArray[np.float32]:
        """Embeddings ``[M, E]`` of the shapes that are evaluated."""
        return self.shapes[self.labeled.splits[TEST]]

    @cached_property
    def captions(self) -> Captions | None:
        """Captions of the shapes; None where no file embeds any."""
        if self.texts is None:
            return None
        own = self._evaluated
        return Captions(own.texts, own.positives, own.positives.argmax(axis=0))

    @cached_property
    def _evaluated(self) -> Split:
        """The shapes that are evaluated, and their captions."""
        return self._split(self.labeled.splits[TEST])

    @property
    def class_names(self) -> Sequence[str]:
        """Classes that have prompts; more than one way to write one counts once."""
        return [] if self.prompts is None else list(dict.fromkeys(self.prompts[1]))

    @cached_property
    def prompted(self) -> Prompted | None:
        """The classes by the prompts of the file.

        Raises:
            UserError: A class of the shapes has none.
        """
        if self.prompts is None:
            return None
        vectors, labels = self.prompts
        places = {same_class(name): place for place, name in enumerate(self.classes.names)}
        owners = np.array([places[same_class(label)] for label in labels], np.int64)
        named, first = np.unique(owners, return_index=True)
        if len(named) < len(places):
            missing = [
                name for place, name in enumerate(self.classes.names) if place not in set(named.tolist())
            ]
            raise UserError(
                f"class_embeddings={self.asked.class_embeddings}: no prompt of {_some(missing)}; expected "
                "one of each category of the shapes"
            )
        ensemble = class_embeddings(vectors, owners, len(places))
        facts = {"name": str(self.asked.class_embeddings), "hash": self.files["class_embeddings"][:16]}
        return Prompted(ensemble, vectors[first], {**facts, "prompts": len(labels)})

    @cached_property
    def known(self) -> Known | None:
        """Known pairs of split train, without captions that are asked for; None without any."""
        train, reward = (self.labeled.splits[name] for name in (TRAIN, REWARD))
        if self.texts is None or not len(train):
            return None
        source = "split reward"
        if not len(reward):
            count = min(round(HELD_OUT * len(train)), MOST)
            if count < LEAST:
                say(
                    f"retrieval: no memory; {len(train)} known shapes are too few to choose its strengths, "
                    f"expected {round(LEAST / HELD_OUT)} or a split reward",
                    error=True,
                )
                return None
            order = np.random.default_rng(self.asked.seed).permutation(train)
            reward, train, source = np.sort(order[:count]), np.sort(order[count:]), f"{count} known shapes"
        rewarded, evaluated = self._split(reward), self._evaluated
        choosing = self._memory(train, rewarded)
        strengths = {
            "text_to_shape": self._strengths(choosing, rewarded, by_text=True),
            "shape_to_text": self._strengths(choosing, rewarded, by_text=False),
        }
        every = np.sort(np.concatenate([train, reward])) if source != "split reward" else train
        memory = self._memory(every, evaluated)
        return Known(memory, strengths, f"{len(memory):,} pairs of split train, strengths chosen on {source}")

    def _strengths(self, memory: AlignmentMemory, asked: Split, *, by_text: bool) -> tuple[float, float]:
        texts, shapes = torch.from_numpy(asked.texts), torch.from_numpy(asked.shapes)
        if by_text:
            recalled = memory.recall(texts, "text") @ shapes.T
            scores, hubness, right = texts @ shapes.T, memory.hubness(shapes, "shape"), asked.positives
        else:
            recalled = memory.recall(shapes, "shape") @ texts.T
            scores, hubness, right = shapes @ texts.T, memory.hubness(texts, "text"), asked.positives.T
        chosen = choose_strengths(
            scores.numpy(), recalled.numpy(), hubness.numpy(), right, seed=self.asked.seed
        )
        return chosen.recall, chosen.hubness

    def _memory(self, rows: NDArray[np.int64], asked: Split) -> AlignmentMemory:
        """The pairs of shapes at ``rows``, but for captions that have the form of one that is asked for."""
        own, taken = self._split(rows), set(asked.forms)
        free = np.array([form not in taken for form in own.forms], bool)
        pairs = own.pairs[free[own.pairs[:, 0]]]
        pairs = np.stack([(np.cumsum(free) - 1)[pairs[:, 0]], pairs[:, 1]], axis=1)
        return AlignmentMemory(
            torch.from_numpy(own.texts[free]), torch.from_numpy(own.shapes), torch.from_numpy(pairs)
        )

    def _split(self, rows: NDArray[np.int64]) -> Split:
        """Shapes at ``rows`` of all of them, and their captions, each form of a caption once."""
        assert self.texts is not None
        places = {self.labeled.ids[row]: place for place, row in enumerate(rows.tolist())}
        numbers: dict[str, int] = {}
        first, pairs = list[int](), list[tuple[int, int]]()
        for text, (owner, caption) in enumerate(zip(self.texts.ids, self._captions, strict=True)):
            if owner in places:
                number = numbers.setdefault(caption, len(numbers))
                if number == len(first):
                    first.append(text)
                pairs.append((number, places[owner]))
        own = np.unique(np.array(pairs, np.int64).reshape(-1, 2), axis=0)
        return Split(self.shapes[rows], self.texts.vectors[first], list(numbers), own)

    @cached_property
    def _captions(self) -> list[str]:
        """What tells the texts apart: the normal form of each, or its row where nobody knows the words."""
        assert self.texts is not None
        of_shape = dict(zip(self.labeled.ids, self.labeled.captions, strict=True))
        seen: dict[str, int] = {}
        found = []
        for row, (owner, caption) in enumerate(zip(self.texts.ids, self.texts.texts["caption"], strict=True)):
            place = seen[owner] = seen.get(owner, -1) + 1
            own = of_shape[owner]
            words = caption or (own[place] if place < len(own) else "")
            found.append(normalize_caption(words) if words.strip() else f"\0{row}")
        return found

    @property
    def score_count(self) -> int:
        """Captions by shapes."""
        if self.texts is None:
            return 0
        return len(self._evaluated.texts) * len(self.vectors)

    @property
    def strangers(self) -> Vectors:
        """Distractors of the file."""
        return self.others

    def facts(self) -> dict[str, Any]:
        """What the numbers are of."""
        return {
            "embeddings": {
                "files": {name: str(getattr(self.asked, name)) for name in self.files},
                "sha256": self.files,
                "width": self.shapes.shape[1],
            },
            "data": {
                "name": self.labeled.name,
                "hash": self.labeled.hash,
                "variant": self.variant,
                "shapes": len(self.vectors),
                "captions": 0 if self.texts is None else len(self._evaluated.texts),
                "categories": len({same_class(own) for own in self.categories if own.strip()}),
                "up_axis": self.labeled.up_axis,
                "normalization": "that of the other model",
                "missing_color": "that of the other model",
            },
        }


def frozen_embeddings(asked: Asked, corpus: Corpus | None) -> Frozen:
    """Reads embeddings, and brings them into the order of the shapes that they are of.

    Args:
        asked: Settings of the command.
        corpus: Data of a run whose splits, captions and categories count; None: those of ``data=``, else of
            the table beside the embeddings.

    Raises:
        UserError: A file cannot be read or holds something else, files differ in width, a shape has no
            embedding or no caption, or an id is of no shape.
    """
    assert asked.embeddings is not None
    outside = read_outside(asked.embeddings)
    if corpus is not None:
        labeled = of_run(corpus)
    else:
        labeled = of_data(asked) if asked.data is not None else of_table(outside, asked.embeddings.name)
    shapes = _in_order(outside, labeled.ids, f"embeddings={asked.embeddings}")
    texts = None
    if (path := asked.text_embeddings) is not None:
        texts = read_outside(path, "text_embeddings", unique=False)
        _check_texts(texts, labeled, f"text_embeddings={path}")
    prompts = None if asked.class_embeddings is None else _read_prompts(asked.class_embeddings)
    others = np.empty((0, shapes.shape[1]), np.float32)
    if (path := asked.distractor_embeddings) is not None:
        strangers = read_outside(path, "distractor_embeddings")
        if both := set(strangers.ids) & set(labeled.ids):
            say(
                f"distractor_embeddings={path}: {len(both)} left out, which are shapes of the data",
                error=True,
            )
        others = strangers.vectors[[row for row, name in enumerate(strangers.ids) if name not in both]]
    for name, vectors in (
        ("text_embeddings", None if texts is None else texts.vectors),
        ("class_embeddings", None if prompts is None else prompts[0]),
        ("distractor_embeddings", others),
    ):
        if vectors is not None and vectors.shape[1] != shapes.shape[1]:
            raise UserError(
                f"{name}={getattr(asked, name)}: width {vectors.shape[1]}, embeddings={asked.embeddings} has "
                f"{shapes.shape[1]}; expected those of one model"
            )
    named = ("embeddings", "text_embeddings", "class_embeddings", "distractor_embeddings")
    files = {name: file_sha256(path) for name in named if (path := getattr(asked, name)) is not None}
    return Frozen(asked, labeled.variant, labeled, shapes, texts, prompts, others, files)


def _in_order(outside: OutsideVectors, ids: Sequence[str], where: str) -> NDArray[np.float32]:
    """Vectors ``[N, E]`` in the order of ids."""
    if list(ids) == outside.ids:
        return outside.vectors
    rows = {name: row for row, name in enumerate(outside.ids)}
    if missing := [name for name in ids if name not in rows]:
        raise UserError(
            f"{where}: no embedding of {len(missing)} of {len(ids)} shapes ({_some(missing)}); expected one "
            "of each, under the id that the data have"
        )
    if more := len(outside.ids) - len(ids):
        say(f"{where}: {more} embeddings left out, which are of other shapes", error=True)
    return outside.vectors[[rows[name] for name in ids]]


def _check_texts(texts: OutsideVectors, labeled: LabeledShapes, where: str) -> None:
    known, captioned = set(labeled.ids), set(texts.ids)
    if strange := [name for name in dict.fromkeys(texts.ids) if name not in known]:
        raise UserError(
            f"{where}: {len(strange)} ids are of no shape ({_some(strange)}); expected the shape's id beside "
            "each caption"
        )
    asked = [labeled.ids[row] for row in labeled.splits[TEST].tolist()]
    if missing := [name for name in asked if name not in captioned]:
        raise UserError(
            f"{where}: no caption of {len(missing)} of {len(asked)} shapes ({_some(missing)}); expected at "
            "least one of each"
        )


def _read_prompts(path: Path) -> tuple[NDArray[np.float32], list[str]]:
    """Embeddings of prompts and the class of each.

    Of an ``.npy`` file with a dict of classes, as OpenShape's ``cat_name_pt_feat.npy``, the keys are the
    classes; it is read by the restricted unpickler.
    """
    where = f"class_embeddings={path}"
    named = _named_vectors(path, where)
    if named is not None:
        return named
    outside = read_outside(path, "class_embeddings", unique=False)
    labels = outside.texts["category"]
    if not all(label.strip() for label in labels):
        row = next(row for row, label in enumerate(labels) if not label.strip())
        raise UserError(f"{where}: row {row} has no category; expected the class of each prompt in the table")
    return outside.vectors, labels


def _named_vectors(path: Path, where: str) -> tuple[NDArray[np.float32], list[str]] | None:
    """Vectors by name from an ``.npy`` file of objects; None of any other file."""
    if path.suffix.lower() != ".npy" or not path.is_file():
        return None
    try:
        np.load(path, mmap_mode="r", allow_pickle=False)
        return None
    except ValueError as error:
        if "Python objects" not in str(error):
            return None  # read_outside says what is wrong
    except (OSError, EOFError):
        return None
    try:
        found = load_untrusted(path)
    except DataError as error:
        raise UserError(f"{where}: {error}") from error
    if not isinstance(found, dict) or not found or not all(isinstance(name, str) for name in found):
        raise UserError(f"{where}: an {type(found).__name__} of objects; expected a dict of vectors by class")
    try:
        vectors = np.stack([np.asarray(own).reshape(-1) for own in found.values()])
    except ValueError as error:
        raise UserError(f"{where}: vectors of several widths; expected one") from error
    return unit_vectors(vectors, where), list(found)


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:NAMED])) + (", …" if len(names) > NAMED else "")
