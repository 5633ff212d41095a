"""Summary of a saved index: its tree, which vectors lie where, what feedback has taught. No vectors."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.ers.hierarchy import Ints, SemanticHierarchy
from retrieval.ers.metadata import Columns
from retrieval.ers.serialization import ROWS, TREE, read_rows, read_tree
from retrieval.storage import read_folder


@dataclass(frozen=True)
class IndexSummary:
    """The tree of a saved `retrieval.ErsIndex` of ``N`` vectors.

    Attributes:
        tree: The hierarchy.
        ids: ``[N]``.
        leaves: ``[N]`` the leaf of each.
        feedbacks: That were counted, old ones for less (see `retrieval.ers.feedback`).
        visits: Per level ``[M_l]``: of these, how many went through each node.
        successes: Per level ``[M_l]``: of these, how many found their answer below it.
        columns: The metadata.
    """

    tree: SemanticHierarchy
    ids: Ints
    leaves: Ints
    feedbacks: float
    visits: list[NDArray[np.float64]]
    successes: list[NDArray[np.float64]]
    columns: Columns

    def texts(self, name: str) -> list[str] | None:
        """The values ``[N]`` of a column of text; None if the index has no such column."""
        known = self.columns.texts.get(name)
        return None if known is None else [known[code] for code in self.columns.values[name].tolist()]


def read_outline(folder: str | PathLike[str]) -> IndexSummary:
    """Reads an index's tree and rows, and leaves its codes and vectors alone.

    Args:
        folder: Written by `retrieval.ErsIndex.save`.

    Raises:
        ValueError: If there is no index, a file is missing, damaged or of another size, or the schema is
            newer.
    """

    def read(header: dict[str, Any], data: Path) -> IndexSummary:
        if header["engine"] != "ers":
            raise ValueError(f"{folder} holds an index of engine {header['engine']!r}, which has no tree")
        tree, statistics, _ = read_tree(data, header["settings"]["half_life"])
        rows, columns = read_rows(data, tree)
        return IndexSummary(
            tree,
            rows.arrays["ids"],
            rows.arrays["leaf"],
            statistics.total / statistics.weight,
            [counts / statistics.weight for counts in statistics.visits],
            [counts / statistics.weight for counts in statistics.successes],
            columns,
        )

    return read_folder(Path(folder), read, verify=(TREE, ROWS))
