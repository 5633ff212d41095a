"""Subject of an evaluation: embeddings of shapes, captions and classes, by a run's model or another one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.evaluate_run.evaluate_options import Asked
from experiments.tasks.prompts import same_class
from models import AlignmentMemory

Vectors = NDArray[np.floating]


@dataclass(frozen=True)
class Classes:
    """Labeled shapes. ``L`` of the ``M`` that are evaluated, ``C`` classes.

    Attributes:
        rows: ``[L]`` places among the shapes that are evaluated.
        labels: ``[L]`` from 0.
        names: C, as first written.
    """

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    names: list[str]


@dataclass(frozen=True)
class Prompted:
    """Embeddings of ``C`` classes by their prompts.

    Attributes:
        ensemble: ``[C, E]`` of all prompts of a class.
        single: ``[C, E]`` of the first of them.
        facts: Name, hash and so on of the prompts.
    """

    ensemble: Vectors
    single: Vectors
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Captions:
    """Captions of the ``M`` shapes, ``Q`` in all.

    Attributes:
        vectors: ``[Q, E]``.
        positives: ``[Q, M]`` bool: which shapes each is a caption of.
        first: ``[M]`` the place of each shape's first caption.
    """

    vectors: Vectors
    positives: NDArray[np.bool_]
    first: NDArray[np.int64]


@dataclass(frozen=True)
class Known:
    """Known pairs, and how much they count.

    Attributes:
        memory: The pairs.
        strengths: Of recall and of hubness, by direction.
        source: Where pairs and strengths come from, in words.
    """

    memory: AlignmentMemory
    strengths: Mapping[str, tuple[float, float]]
    source: str


class Subject(ABC):
    """Embeddings of ``M`` shapes, and what is known of these. ``E`` wide.

    Attributes:
        asked: Settings of the command.
        variant: What the shapes are, in words.
    """

    asked: Asked
    variant: str

    @property
    @abstractmethod
    def categories(self) -> Sequence[str]:
        """Label of each shape; blank without one."""

    @property
    @abstractmethod
    def vectors(self) -> Vectors:
        """Embeddings ``[M, E]`` of the shapes."""

    @property
    @abstractmethod
    def captions(self) -> Captions | None:
        """Captions of the shapes; None where nothing embeds any."""

    @property
    @abstractmethod
    def score_count(self) -> int:
        """Captions by shapes: the scores that retrieval holds, known before any is there."""

    @property
    @abstractmethod
    def prompted(self) -> Prompted | None:
        """The classes by their prompts; None where nothing embeds them."""

    @property
    @abstractmethod
    def known(self) -> Known | None:
        """Known pairs that give away no answer; None without any."""

    @property
    @abstractmethod
    def strangers(self) -> Vectors:
        """Embeddings ``[D, E]`` of other shapes that answer none of the captions, in the order of their use.

        They may be mapped from a file.
        """

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What the numbers are of, as plain values: ``data`` and so on."""

    @property
    def class_names(self) -> Sequence[str]:
        """Labels that count as classes besides those of the shapes."""
        return ()

    @property
    def usable_shots(self) -> list[int]:
        """Shots for which at least two classes have more shapes."""
        sizes = np.bincount(self.classes.labels)
        return [shots for shots in self.asked.shots if (sizes > shots).sum() >= 2]

    @cached_property
    def classes(self) -> Classes:
        """The categories of the shapes, and the other classes; shapes without a category are left out."""
        names: dict[str, str] = {}
        for category in [*self.class_names, *self.categories]:
            if category.strip():
                names.setdefault(same_class(category), category)
        places = {key: place for place, key in enumerate(sorted(names))}
        rows = [row for row, category in enumerate(self.categories) if category.strip()]
        labels = [places[same_class(self.categories[row])] for row in rows]
        return Classes(np.array(rows, np.int64), np.array(labels, np.int64), [names[key] for key in places])
