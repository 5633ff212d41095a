"""Engines by name, each behind `retrieval.protocol.Retriever`.

``flat``, ``ivf``, ``ivfpq`` and ``hnsw`` are faiss's and always there; ``hnswlib``, ``usearch``, ``scann``
and ``scann_soar``, ``symphonyqg`` and ``ivf_rabitq``, ``svs`` and ``diskann`` need a package each,
``flat_gpu`` and ``ivf_gpu`` faiss's build for GPUs, and they say so when it is missing. Nothing is imported
before it is asked for. `register_engine` adds one of your own.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from retrieval.engines.base import MissingEngineError
from retrieval.protocol import Retriever

__all__ = [
    "COMPOSED",
    "ENGINES",
    "MissingEngineError",
    "engine_class",
    "make_index",
    "register_engine",
    "search_params_of",
]

#: Module and class of every engine.
ENGINES: dict[str, tuple[str, str]] = {
    "flat": ("retrieval.engines.exact", "FlatIndex"),
    "ivf": ("retrieval.engines.ivf", "Ivf"),
    "ivfpq": ("retrieval.engines.ivfpq", "IvfPq"),
    "hnsw": ("retrieval.engines.hnsw", "Hnsw"),
    "hnswlib": ("retrieval.engines.hnsw_lib", "HnswLib"),
    "usearch": ("retrieval.engines.usearch", "Usearch"),
    "scann": ("retrieval.engines.scann", "Scann"),
    "scann_soar": ("retrieval.engines.scann", "ScannSoar"),
    "symphonyqg": ("retrieval.engines.rabitq", "SymphonyQg"),
    "ivf_rabitq": ("retrieval.engines.rabitq", "IvfRabitq"),
    "svs": ("retrieval.engines.svs", "Svs"),
    "diskann": ("retrieval.engines.diskann", "DiskAnn"),
    "flat_gpu": ("retrieval.engines.gpu", "FlatGpu"),
    "ivf_gpu": ("retrieval.engines.gpu", "IvfGpu"),
    "ers": ("retrieval.ers.index", "ErsIndex"),
}
#: Indexes that are made of another engine's, and so take no part in a comparison of engines.
COMPOSED: dict[str, tuple[str, str]] = {
    "ers_sharded": ("retrieval.sharding.sharded_index", "ShardedIndex"),
}
Made = TypeVar("Made", bound=type[Any])


def register_engine(name: str) -> Callable[[Made], Made]:
    """Decorator that makes an index of your own known to `make_index` and to the evaluation.

    Args:
        name: What it is called in ``engines=…``; the class's attribute ``name`` is set to it. The class is a
            `Retriever`. It may have ``threads``, ``resident_bytes()`` and ``disk_bytes()``, and
            ``search_params``: for each attribute that trades recall for speed the values of a curve, cheapest
            first.

    Raises:
        ValueError: Another class has the name, or the class lacks ``build`` or ``search``.
    """

    def register(kind: Made) -> Made:
        place = (kind.__module__, kind.__qualname__)
        if ENGINES.get(name, place) != place:
            raise ValueError(f"{name}: {'.'.join(ENGINES[name])} has this name; choose another")
        for method in ("build", "search"):
            if not callable(getattr(kind, method, None)):
                raise ValueError(f"{name}: {kind.__qualname__} has no {method}(); see retrieval.Retriever")
        kind.name = name
        ENGINES[name] = place
        return kind

    return register


def make_index(name: str, **settings: object) -> Retriever:
    """An empty index.

    Args:
        name: One of `ENGINES` or `COMPOSED`.
        settings: Arguments of the engine's class, such as ``threads=2`` or ``nprobe=32``.

    Raises:
        ValueError: No such engine, no such setting, or a value out of range.
        MissingEngineError: Its library is not installed; the message says what to type.
    """
    engine = engine_class(name)
    parameters = inspect.signature(engine).parameters
    known = [key for key in parameters if key != "self"]
    takes_more = any(own.kind is inspect.Parameter.VAR_KEYWORD for own in parameters.values())
    for key in settings:
        if key not in known and not takes_more:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise ValueError(f"{key}: {name} has no such setting{hint} (settings: {', '.join(known)})")
    made: Retriever = engine(**settings)
    return made


def engine_class(name: str) -> type[Any]:
    """The class of an engine, see `make_index`; its library may be missing all the same.

    Raises:
        ValueError: No such engine.
        MissingEngineError: Its module is not installed.
    """
    places = COMPOSED | ENGINES
    if name not in places:
        close = difflib.get_close_matches(name, ENGINES, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ValueError(f"{name}: no such engine{hint} (known: {', '.join(ENGINES)})")
    module, attribute = places[name]
    if importlib.util.find_spec(module) is None:
        raise MissingEngineError(f"{name}: {module} is not part of this installation")
    found: type[Any] = getattr(importlib.import_module(module), attribute)
    return found


def search_params_of(engine: Retriever) -> Mapping[str, tuple[int, ...]]:
    """For each attribute that trades the engine's recall for speed the values of a curve, cheapest first."""
    return getattr(engine, "search_params", {})
