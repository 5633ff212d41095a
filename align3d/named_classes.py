"""Classes that a command line names: by a registered name, or as ``package.module:Class``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from align3d.errors import DataError, did_you_mean
from align3d.own_modules import import_own


def named_class(name: str, known: Mapping[str, type], parts: Sequence[str], setting: str, what: str) -> type:
    """The class of a name.

    Args:
        name: A registered name, or ``package.module:Class``.
        known: Classes by registered name.
        parts: Attributes that a class of the user's own must have.
        setting: Setting that gave the name, for messages, such as ``filters``.
        what: What the class is of, for messages, such as ``filter``.

    Raises:
        DataError: There is no such class.
    """
    if name in known:
        return known[name]
    module_name, colon, class_name = name.partition(":")
    if not colon:
        names = sorted(known)
        raise DataError(
            f"{setting}={name}: no such {what}{did_you_mean(name, names)} (known: {', '.join(names)})"
        )
    wanted = "expected package.module:Class that can be imported"
    if not module_name or not class_name:
        raise DataError(f"{setting}={name}: {wanted}")
    try:
        found: Any = getattr(import_own(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise DataError(f"{setting}={name}: {error}; {wanted}") from error
    missing = [part for part in parts if not hasattr(found, part)]
    if missing or not isinstance(found, type):
        lacks = f" without {missing[0]}" if isinstance(found, type) else ""
        raise DataError(
            f"{setting}={name}: a {type(found).__name__}{lacks}; expected a class with {', '.join(parts)}"
        )
    return found
