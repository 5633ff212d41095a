"""Report on a training step whose loss or gradient is not finite: which items of its batch it was over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from align3d.errors import UserError
from models import ShapeBatch, TextFeatures

if TYPE_CHECKING:
    from experiments.data.batches import Batch
    from experiments.training.session import Session

NAMED = 6  # of a batch's items that are said


def divergence(session: Session, batch: Batch, loss: float, norm: float, phase: str) -> UserError:
    """The error that ends a training which has diverged.

    Args:
        session: The run; its weights are those of before the step.
        batch: The step's.
        loss: Its loss.
        norm: Norm of the gradient.
        phase: What was trained, such as "training".

    Returns:
        One line that names the items whose captions or shapes hold numbers that are not finite. Where there
        are none the weights are to blame, and the line names items of the batch.
    """
    config = session.config.train
    said = f"{phase} has diverged: in step {session.step} the loss is {loss}, its gradient {norm}"
    every = len(batch.indices)
    texts, shapes = _bad_texts(batch.text), _bad_shapes(batch.shapes)
    if not texts and not shapes:
        items = _named(session, batch, list(range(every)))
        return UserError(
            f"train.learning_rate={config.learning_rate}: {said}; lower it or train.clip; the batch's items: "
            f"{items}"
        )
    culprits = [
        f"{len(rows)} of {every} {what} hold numbers that are not finite: {_named(session, batch, rows)}"
        for what, rows in (("captions", texts), ("shapes", shapes))
        if rows
    ]
    return UserError(
        f"data={session.corpus.dataset.name}: {said}; {'; '.join(culprits)}; mend or leave out these"
    )


def _bad_texts(features: TextFeatures) -> list[int]:
    """Rows whose tokens, or the numbers among them, are not finite; NaN stands where there is no number."""
    tokens, quantities = features.tokens.flatten(1), features.quantities.flatten(1)
    return _rows(~tokens.isfinite().all(1) | quantities.isinf().any(1))


def _bad_shapes(shapes: ShapeBatch) -> list[int]:
    """Rows with points, sizes or profiles that are not finite."""
    parts = (shapes.patches, shapes.centers, shapes.size_m, shapes.profile, shapes.spectrum)
    return _rows(~torch.stack([part.flatten(1).isfinite().all(1) for part in parts]).all(0))


def _rows(bad: Tensor) -> list[int]:
    return bad.nonzero().flatten().tolist()


def _named(session: Session, batch: Batch, rows: list[int]) -> str:
    """Ids and captions of rows, the first `NAMED` of them."""
    corpus = session.corpus
    indices, texts = batch.indices.tolist(), batch.texts.tolist()
    said = [
        f"{corpus.dataset.ids[indices[row]]} ({corpus.captions[texts[row]][:40]!r})" for row in rows[:NAMED]
    ]
    more = f" and {len(rows) - len(said)} more" if len(rows) > len(said) else ""
    return ", ".join(said) + more
