"""A dataset to review, and a session of one reviewer on it."""

from __future__ import annotations

from pathlib import Path

from align3d import ShapeDataset
from align3d.pipeline import build
from align3d.reviewing.review_log import ReviewLog, reviews_folder
from align3d.reviewing.review_sample import review_sample
from align3d.reviewing.review_session import ReviewSession
from tests.align3d.toy_source import Boxes


def boxes(folder: Path, size: int = 14, points: int = 256) -> ShapeDataset:
    return build(Boxes(size), folder / "boxes", points=points, workers=1, progress=False)


def session_of(
    dataset: ShapeDataset, reviewer: str = "ada", share: float = 1.0, again: bool = False
) -> ReviewSession:
    log = ReviewLog(reviews_folder(dataset.path), reviewer)
    return ReviewSession(dataset, log, review_sample(dataset, share), again=again)
