"""Protocol of a filter, and what it looks at: the shapes and captions that are still in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from align3d.dataset import ShapeDataset
from align3d.decisions import Decision, settle


@dataclass(frozen=True)
class Remaining:
    """A dataset's shapes and captions that nothing decided against so far.

    What people edited is theirs: such a caption is not shown, but its shape is.

    Attributes:
        dataset: The dataset as it was built.
        rows: Rows of the shapes that are in, i64[n], ascending.
        captions: Of each of these, the captions that are in, in their order and as the dataset has them.
    """

    dataset: ShapeDataset
    rows: NDArray[np.int64]
    captions: Sequence[Sequence[str]]

    @classmethod
    def after(cls, dataset: ShapeDataset, decisions: Iterable[Decision]) -> Remaining:
        """What is in after decisions, which may be those of people and those of filters."""
        about: dict[str, list[Decision]] = {}
        for decision in decisions:
            about.setdefault(decision.item, []).append(decision)
        rows, captions = [], []
        for row, (item, content, texts) in enumerate(
            zip(dataset.ids, dataset.content_hashes, dataset.captions, strict=True)
        ):
            if item not in about:
                rows.append(row)
                captions.append(texts)
                continue
            outcome = settle(content, texts, about[item])
            if outcome.rejected is None:
                edited = {change.text for change in outcome.changes if change.action == "edit_caption"}
                rows.append(row)
                captions.append([text for text in outcome.captions if text not in edited])
        return cls(dataset, np.array(rows, dtype=np.int64), captions)

    def texts(self) -> Iterator[tuple[str, str]]:
        """Id of the shape and text of each caption, in order."""
        ids = self.dataset.ids
        for row, texts in zip(self.rows.tolist(), self.captions, strict=True):
            for text in texts:
                yield ids[row], text

    def reject(self, row: int, reason: str, by: str) -> Decision:
        """Decision that leaves a shape out."""
        dataset = self.dataset
        return Decision(dataset.ids[row], "reject", reason, by, item_hash=dataset.content_hashes[row])


@runtime_checkable
class Filter(Protocol):
    """A filter of a built dataset. Its constructor's keyword arguments are its settings.

    Attributes:
        name: Author of its decisions, and prefix of its settings on a command line.
    """

    name: ClassVar[str]

    def fingerprint(self) -> str:
        """Sha256 hex of everything besides the dataset that determines the decisions."""
        ...

    def decide(self, remaining: Remaining, *, progress: bool = True) -> Iterator[Decision]:
        """Decisions against shapes or captions that are still in, in the order of the rows.

        Each has a reason that begins with a kind and a colon.

        Args:
            remaining: What is in.
            progress: Whether to show how far it is.

        Raises:
            DataError: What the filter needs besides the dataset is not there.
        """
        ...
