"""The engines that ours is compared with, by name, each behind `retrieval.protocol.Retriever`.

``flat``, ``ivf``, ``ivfpq`` and ``hnsw`` are faiss's and always there; ``hnswlib``, ``usearch``, ``scann``
and ``diskann`` need a package each, ``flat_gpu`` and ``ivf_gpu`` faiss's build for GPUs, and they say so when
it is missing. Nothing is imported before it is asked for.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
from collections.abc import Mapping

from retrieval.engines.base import PROBES, REFINES, MissingEngineError
from retrieval.protocol import Retriever

__all__ = ["ENGINES", "MissingEngineError", "make_index", "search_params_of"]

#: Module and class of every engine.
ENGINES: Mapping[str, tuple[str, str]] = {
    "flat": ("retrieval.engines.exact", "FlatIndex"),
    "ivf": ("retrieval.engines.ivf", "Ivf"),
    "ivfpq": ("retrieval.engines.ivfpq", "IvfPq"),
    "hnsw": ("retrieval.engines.hnsw", "Hnsw"),
    "hnswlib": ("retrieval.engines.hnsw_lib", "HnswLib"),
    "usearch": ("retrieval.engines.usearch", "Usearch"),
    "scann": ("retrieval.engines.scann", "Scann"),
    "diskann": ("retrieval.engines.diskann", "DiskAnn"),
    "flat_gpu": ("retrieval.engines.gpu", "FlatGpu"),
    "ivf_gpu": ("retrieval.engines.gpu", "IvfGpu"),
    "ers": ("retrieval.ers.index", "ErsIndex"),
}
_ERS_KNOBS: Mapping[str, tuple[int, ...]] = {"beam": PROBES, "refine": REFINES}


def make_index(name: str, **settings: object) -> Retriever:
    """An empty index.

    Args:
        name: one of `ENGINES`.
        settings: arguments of the engine's class, such as ``threads=2`` or ``nprobe=32``.

    Raises:
        ValueError: no such engine, no such setting, or a value out of range.
        MissingEngineError: its library is not installed; the message says what to type.
    """
    if name not in ENGINES:
        close = difflib.get_close_matches(name, ENGINES, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ValueError(f"{name}: no such engine{hint} (known: {', '.join(ENGINES)})")
    module, attribute = ENGINES[name]
    if importlib.util.find_spec(module) is None:
        raise MissingEngineError(f"{name}: {module} is not part of this installation")
    engine = getattr(importlib.import_module(module), attribute)
    known = [key for key in inspect.signature(engine).parameters if key != "self"]
    for key in settings:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise ValueError(f"{key}: {name} has no such setting{hint} (settings: {', '.join(known)})")
    made: Retriever = engine(**settings)
    return made


def search_params_of(engine: Retriever) -> Mapping[str, tuple[int, ...]]:
    """For each attribute that trades the engine's recall for speed the values of a curve, cheapest first."""
    if engine.name == "ers":
        return getattr(engine, "knobs", _ERS_KNOBS)
    return getattr(engine, "knobs", {})
