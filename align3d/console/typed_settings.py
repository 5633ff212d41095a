"""Settings as they can be typed: in Hydra's grammar, quoted for the shell."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any


def setting(name: str, value: Any) -> str:
    """``name=value`` as it can be typed: in Hydra's grammar, quoted for the shell where that is needed."""
    return shlex.quote(f"{name}={in_hydras_grammar(value)}")


def from_hydras_grammar(text: str) -> Any:
    """The value that a text stands for in Hydra's overrides; the text itself where it stands for none."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_override(f"_={text}")
    except HydraException:
        return text
    return text if parsed.is_sweep_override() else parsed.value()


def in_hydras_grammar(value: Any) -> str:
    """A value as Hydra's overrides spell it."""
    from hydra.core.override_parser.overrides_parser import OverridesParser  # slow, and for messages alone
    from hydra.errors import HydraException

    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{in_hydras_grammar(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(in_hydras_grammar, value)) + "]"
    text = str(value)
    if isinstance(value, int | float):
        return text
    try:
        parsed = OverridesParser.create().parse_override(f"_={text}")
        if not parsed.is_sweep_override() and parsed.value() == text:
            return text
    except HydraException:  # it needs quotes
        pass
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
