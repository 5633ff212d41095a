"""SVS: the Vamana graph over plain or compressed vectors.

Aguerrebere et al., "Similarity search in the blink of an eye with compressed indices" (VLDB 2023). The wheels
of ``scalable-vs`` are closed (Intel Simplified Software License): free to use, compressed storage
(LVQ) on Intel's processors alone.
"""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from retrieval.engines import vamana
from retrieval.engines.base import Engine, Found, MissingEngineError, library, quiet
from retrieval.validation import Checked, whole

FIX = "pip install scalable-vs (wheels for Linux with x86), or the extra bench"
COMPRESSED, PLAIN = "lvq4x8", "float16"
PATIENCE = 60.0
"""Seconds that a trial may take; it needs less than one."""


class Svs(Engine):
    """``svs.Vamana`` by inner product.

    Args:
        graph_degree: Links a node.
        construction_window: Breadth of the search that links a new node.
        storage: Of the vectors: ``float32``, ``float16``, ``lvq4x4``, ``lvq4x8``, ``lvq8``, or ``auto``:
            ``lvq4x8`` where this processor runs it, else ``float16``.
        window: Breadth of a search.
        threads: See `retrieval.engines.base.Engine`.

    Raises:
        MissingEngineError: If ``svs`` is not installed, or this processor cannot run it with that storage.
    """

    name = "svs"
    search_params: ClassVar = {"window": (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024)}
    window = Checked(whole)

    def __init__(
        self,
        *,
        graph_degree: int = 64,
        construction_window: int = 128,
        storage: str = "auto",
        window: int = 64,
        threads: int = 1,
    ) -> None:
        super().__init__(threads=threads)
        if storage not in ("auto", *vamana.STORAGES):
            raise ValueError(f"storage={storage}: expected auto, {', '.join(vamana.STORAGES)}")
        if importlib.util.find_spec("svs") is not None:  # else the import below says what to type
            storage = _runnable(storage)
        library(self.name, "svs", FIX)
        self.graph_degree = whole("graph_degree", graph_degree, 2)
        self.construction_window = whole("construction_window", construction_window)
        self.storage = storage
        self.window = window
        self._index: Any = None
        self._length = 1.0  # of the longest vector

    def resident_bytes(self) -> int:
        """See `Engine.resident_bytes`."""
        if self._index is None:
            return 0
        with tempfile.TemporaryDirectory() as folder:
            self._index.save(*(str(Path(folder) / part) for part in ("settings", "graph", "vectors")))
            return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())

    def _build(self, vectors: NDArray[np.float32]) -> None:
        length = float(np.linalg.norm(vectors, axis=1).max())
        with quiet():
            index = vamana.build_vamana(
                vectors / np.float32(length),  # into the range of float16
                self.storage,
                graph_degree=self.graph_degree,
                window=self.construction_window,
                threads=self.threads,
            )
        self._index, self._length = index, length

    def _search(self, queries: NDArray[np.float32], k: int) -> Found:
        if self._index.num_threads != self.threads:
            self._index.num_threads = self.threads
        self._index.search_window_size = max(self.window, k)
        norms = np.linalg.norm(queries, axis=1, keepdims=True)
        near, scores = self._index.search(queries / norms, k)
        rows = near.astype(np.int64)
        rows[(rows < 0) | (rows >= len(self))] = -1
        return rows, self._length * norms * scores


def _runnable(storage: str) -> str:
    """The storage that is meant, where a process of its own has run it to the end.

    Raises:
        MissingEngineError: It has not; the message gives the reason.
    """
    if storage == "auto":
        return COMPRESSED if _complaint(COMPRESSED) is None else _runnable(PLAIN)
    complaint = _complaint(storage)
    if complaint is None:
        return storage
    place, reason = complaint
    other = f"; take storage={PLAIN}" if storage in vamana.CODES else ""
    raise MissingEngineError(f"engine svs cannot run {place}with storage={storage} ({reason}){other}")


@lru_cache
def _complaint(storage: str) -> tuple[str, str] | None:
    """Where a storage fails in a process of its own, and the reason; None where it works."""
    program = [sys.executable, "-P", vamana.__file__, storage]
    try:
        trial = subprocess.run(program, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return "", f"a trial took more than {PATIENCE:g} s"
    if trial.returncode == 0:
        return None
    said = trial.stderr.strip() or trial.stdout.strip()
    last = said.splitlines()[-1] if said else ""
    if "Traceback" in said:  # Python's own, so the process was not ended from below
        return "", last
    if trial.returncode < 0:
        last = f"it ends the process by {signal.Signals(-trial.returncode).name}"
    return "on this CPU ", last or f"it ends the process with code {trial.returncode}"
