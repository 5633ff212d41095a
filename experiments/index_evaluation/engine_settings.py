"""Engines as they are named on the command line: by name, or with settings behind colons."""

from __future__ import annotations

import json

from align3d.errors import UserError, did_you_mean
from retrieval.engines import ENGINES

BETWEEN = ":"


def engine_name(title: str) -> str:
    """The engine's name alone: ``ivf`` of ``ivf:nlist=512:codes=flat``."""
    return title.partition(BETWEEN)[0]


def engine_settings(title: str) -> dict[str, object]:
    """Settings behind an engine's name; numbers, true, false and null are taken as such, the rest as words.

    Raises:
        UserError: There is no such engine, a part has no equals sign or is given twice, or it says how many
            threads.
    """
    name, *parts = title.split(BETWEEN)
    if name not in ENGINES:
        close = did_you_mean(name, ENGINES)
        raise UserError(f"engines={title}: no such engine{close} (known: {', '.join(ENGINES)})")
    found: dict[str, object] = {}
    for part in parts:
        key, equals, text = part.partition("=")
        if not (key and equals and text):
            raise UserError(f"engines={title}: {part!r}: expected setting=value, as in ivf:nlist=512")
        if key in found:
            raise UserError(f"engines={title}: {key} is given twice")
        if key == "threads":
            raise UserError(f"engines={title}: all engines have the same threads; write threads={text} apart")
        found[key] = _value(text)
    return found


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text
