"""Filters of built datasets by name, and the decisions of several in a row."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from align3d.console.declarations import REQUIRED, declared
from align3d.dataset import ShapeDataset
from align3d.decisions import Decision
from align3d.errors import DataError, did_you_mean
from align3d.filters.protocol import Filter, Remaining
from align3d.named_classes import named_class

__all__ = ["FILTERS", "Filter", "Remaining", "decisions_of", "filter_class", "make_filter", "register"]

FILTERS: dict[str, type[Filter]] = {}

F = TypeVar("F", bound=type[Filter])


def register(cls: F) -> F:
    """Class decorator: make a filter known by its name."""
    FILTERS[cls.name] = cls
    return cls


def filter_class(name: str) -> type[Filter]:
    """The class of a filter, by its name or as ``package.module:Class``.

    Raises:
        DataError: There is no such filter.
    """
    return named_class(name, FILTERS, ("name", "fingerprint", "decide"), "filters", "filter")


def make_filter(name: str, **settings: Any) -> Filter:
    """Make a filter from its name and settings.

    Args:
        name: A registered name, or ``package.module:Class``.
        **settings: The filter's own settings.

    Raises:
        DataError: No such filter, no such setting, or a setting with a wrong value.
    """
    cls = filter_class(name)
    known = declared(cls)
    names = list(known)
    for setting in known.values():
        if setting.default is REQUIRED and setting.name not in settings:
            raise DataError(f"filters.{cls.name}.{setting.name} is missing: {setting.comment.rstrip('.')}")
    for key in settings:
        if key not in names:
            raise DataError(
                f"filters.{cls.name}.{key}: no such setting{did_you_mean(key, names)} "
                f"(settings: {', '.join(names)})"
            )
    return cls(**settings)


def decisions_of(
    dataset: ShapeDataset,
    filters: Sequence[Filter],
    *,
    before: Iterable[Decision] = (),
    progress: bool = True,
) -> list[Decision]:
    """Decisions of filters about a dataset, in their order.

    Each filter sees what those before it left, so that no shape goes because it resembles one that goes
    itself.

    Args:
        dataset: The dataset as it was built.
        filters: The filters.
        before: Decisions that were made already, of people above all; they are not among the result.
        progress: Whether to show how far it is.

    Raises:
        DataError: What a filter needs besides the dataset is not there.
    """
    earlier = list(before)
    made: list[Decision] = []
    for one in filters:
        remaining = Remaining.after(dataset, [*earlier, *made])
        made.extend(one.decide(remaining, progress=progress))
    return made


# Importing a module registers its filter.
for _module in (
    *("caption_language", "caption_length", "caption_quality", "duplicate_captions", "duplicate_shapes"),
):
    importlib.import_module(f"{__name__}.{_module}")
