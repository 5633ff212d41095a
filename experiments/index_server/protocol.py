"""The protocol of what is served: vectors by id, and words where a model stands behind them."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class ServedIndex(Protocol):
    """An index that is served."""

    width: int
    takes_changes: bool
    takes_words: bool

    def __len__(self) -> int:
        """Number of vectors."""

    def search(self, queries: Floats, k: int, where: Any) -> tuple[Ints, Floats]:
        """See `retrieval.Retriever.search`."""

    def search_words(self, words: str, k: int, where: str | None) -> dict[str, Any]:
        """Answers to words as plain values."""

    def change(self, what: str, *arguments: Any) -> None:
        """Calls ``add``, ``update``, ``upsert`` or ``remove``."""

    def live(self) -> list[int]:
        """Replicas of each shard that live."""

    def facts(self) -> dict[str, float]:
        """Further numbers for the metrics, by name."""

    def close(self) -> None:
        """Lets go of it."""
