"""Those who decide about a dataset, as a command line names them: filters, reviewers, and what is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from align3d.building.deciding import Judgement
from align3d.filters import Filter
from align3d.reviewing.review_log import review_decisions


@dataclass(frozen=True)
class JudgeSettings:
    """Settings of whose decisions are applied.

    Attributes:
        keep: Ids of shapes that are kept with all their captions, whatever filters and reviewers say.
        reviews: Apply what reviewers decided about the dataset in out.
    """

    keep: tuple[str, ...] = ()
    reviews: bool = True


def judgement_of(out: Path, settings: JudgeSettings, filters: Sequence[Filter]) -> Judgement:
    """Those who decide about the dataset of a folder.

    Raises:
        DataError: A file of reviews cannot be read.
    """
    reviews = review_decisions(out) if settings.reviews else []
    return Judgement(tuple(filters), tuple(reviews), settings.keep)
