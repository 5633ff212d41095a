"""Protocol of a source of shapes, and the registry of sources by name."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar, cast, runtime_checkable

from align3d.errors import DataError, did_you_mean
from align3d.named_classes import named_class
from align3d.record import Record

__all__ = ["SOURCES", "Item", "Source", "make_source", "register", "setting_names"]


@dataclass(frozen=True)
class Item:
    """A shape that a source can read: cheap to make and to pickle, so that worker processes can have it.

    Attributes:
        id: Unique within the source, the same on every machine.
        payload: What the source needs to read it: plain values (a path, parameters, captions).
    """

    id: str
    payload: Any = None


@runtime_checkable
class Source(Protocol):
    """A source of shapes. Its constructor's keyword arguments are its settings.

    A source may also have a method ``rejected() -> list[Rejection]`` for what ``items()`` had to leave out
    (a caption without a file, a file without a caption), and say ``can_crash = False`` where no item can end
    the process that reads it: then a small build has no process of its own. Where shapes have a surface, a
    method ``surface(item) -> DrawnSurface | None`` gives it to be drawn; others are drawn as points.
    """

    name: ClassVar[str]

    def fingerprint(self) -> str:
        """Sha256 hex of everything that determines the records (settings; files' path, size, mtime)."""
        ...

    def items(self) -> list[Item]:
        """All items, in an order that is the same on every machine.

        Raises:
            DataError: There is nothing to read: a missing root, an empty folder, a wrong setting.
        """
        ...

    def read(self, item: Item, points: int, seed: int) -> Record:
        """One record of ``points`` points, the same for the same item, points and seed.

        Raises:
            RejectedItem: This item cannot be read; the build lists it and goes on.
        """
        ...


SOURCES: dict[str, type[Source]] = {}

S = TypeVar("S", bound=type[Source])


def register(name: str) -> Callable[[S], S]:
    """Class decorator: make a source known by its name."""

    def add(cls: S) -> S:
        SOURCES[name] = cls
        return cls

    return add


def setting_names(cls: type[Source]) -> dict[str, str]:
    """The settings of a source and their types as text: its constructor's keyword arguments."""
    return {
        name: inspect.formatannotation(parameter.annotation).strip("'")
        for name, parameter in inspect.signature(cls).parameters.items()
    }


def source_class(name: str) -> type[Source]:
    """The class of a source, by its registered name or as ``package.module:Class``.

    Raises:
        DataError: There is no such source.
    """
    return named_class(name, SOURCES, ("name", "fingerprint", "items", "read"), "data", "source")


def make_source(name: str, **settings: Any) -> Source:
    """Make a source from its name and settings.

    Args:
        name: A registered name, or ``package.module:Class``; several with commas, which are joined.
        **settings: The source's own settings; ``None`` leaves a setting at its default. Of several sources:
            with a source's name in front (``kicad.size``), or for every source that has them.

    Raises:
        DataError: No such source, no such setting, or a setting with a wrong value.
    """
    if "," in name:
        from align3d.sources.joined import join  # which imports this module

        return cast(Source, join(name, settings))  # whose name is not that of its class
    cls = source_class(name)
    names = list(setting_names(cls))
    given = {key: value for key, value in settings.items() if value is not None}
    for key in given:
        if key not in names:
            raise DataError(
                f"data={name}: no setting {key!r}{did_you_mean(key, names)} (settings: {', '.join(names)})"
            )
    return cls(**given)


def takes_seed(names: str) -> bool:
    """Whether a source, or one of several that are joined, has a setting ``seed``."""
    return any("seed" in setting_names(cls) for cls in _classes(names))


def _classes(names: str) -> list[type[Source]]:
    return [source_class(name.rpartition("=")[2].strip()) for name in names.split(",")]


# Importing a module registers its source.
_BENCHMARKS = (
    *("cap3d", "compat200", "corrupted_files", "modelnet40", "modelnet_fewshot", "objaverse_lvis"),
    *("partnet", "partnete", "scanobjectnn", "shapenet55", "shapenetpart", "text2shape"),
)
for _module in ("built", "folder", "kicad", "procedural", *(f"benchmarks.{name}" for name in _BENCHMARKS)):
    if importlib.util.find_spec(f"{__name__}.{_module}") is not None:
        importlib.import_module(f"{__name__}.{_module}")
for _module in ("parquet_shards", "webdataset_shards"):
    importlib.import_module(f"align3d.exchange.{_module}")
