"""Report on a training step whose loss or gradient is not finite: which items of its batch it was over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from align3d.errors import UserError
from models import PointHierarchy, TextEmbedding

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
        One line that names the items whose texts or shapes the model cannot encode to finite numbers. Where
        it can encode all of them, or none, its weights are to blame, and the line names items of the batch.
    """
    config = session.config.train
    said = f"{phase} has diverged: in step {session.step} the loss is {loss}, its gradient {norm}"
    every = len(batch.indices)
    texts, shapes = _not_finite(session, batch)
    if not 0 < len(texts) < every and not 0 < len(shapes) < every:
        items = _named(session, batch, list(range(every)))
        return UserError(
            f"train.learning_rate={config.learning_rate}: {said}; lower it or train.clip; the batch's items: "
            f"{items}"
        )
    culprits = [
        f"{len(rows)} of {every} {what} give numbers that are not finite: {_named(session, batch, rows)}"
        for what, rows in (("captions", texts), ("shapes", shapes))
        if 0 < len(rows) < every
    ]
    return UserError(
        f"data={session.corpus.dataset.name}: {said}; {'; '.join(culprits)}; mend or leave out these, or "
        "lower train.learning_rate"
    )


@torch.no_grad()
def _not_finite(session: Session, batch: Batch) -> tuple[list[int], list[int]]:
    """Rows of the batch whose captions, and whose shapes, have features that are not finite."""
    model = session.model
    text, shapes = model.encode_text(batch.text), model.encode_shapes(batch.shapes)
    return _bad_rows(text), _bad_rows(shapes)


def _bad_rows(encoded: TextEmbedding | PointHierarchy) -> list[int]:
    parts: list[Tensor] = [encoded.embedding.unsqueeze(1)]
    parts.append(encoded.tokens if isinstance(encoded, TextEmbedding) else encoded.nodes)
    finite = torch.cat([part.isfinite().all(-1).all(-1, keepdim=True) for part in parts], -1).all(-1)
    return (~finite).nonzero().flatten().tolist()


def _named(session: Session, batch: Batch, rows: list[int]) -> str:
    """Ids and captions of rows, the first `NAMED` of them."""
    corpus = session.corpus
    indices, texts = batch.indices.tolist(), batch.texts.tolist()
    said = [
        f"{corpus.dataset.ids[indices[row]]} ({corpus.captions[texts[row]][:40]!r})" for row in rows[:NAMED]
    ]
    more = f" and {len(rows) - len(said)} more" if len(rows) > len(said) else ""
    return ", ".join(said) + more
