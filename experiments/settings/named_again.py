"""Names that a command line repeats of a run that somebody may have sent, so that it is followed.

See `experiments.settings.sent_settings`, which says what is not followed otherwise.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from align3d.console.arguments import values_by
from align3d.console.help_page import Line, Section
from align3d.errors import UserError

Named = Mapping[str, Any]
"""Values by the names that they have in experiments.run: ``imports``, ``cache``, ``data.root``, ..."""
NOTHING: Named = MappingProxyType({})
NAMED, IMPORTS, LOGGERS = "named", "imports", "loggers"
CACHE, MEMORY, ENCODER, DATA = "cache", "memory", "train.text_encoder", "data."
_LINES = [
    Line(f"{CACHE}=FOLDER", "Folder of datasets and features, if not the default one."),
    Line(f"{DATA}root=FOLDER", "Folder of the run's data; so are other paths, such as data.captions."),
    Line(f"{ENCODER}=NAME", "Text encoder, if not the default one."),
]
_OF_MEMORY = Line(f"{MEMORY}=FOLDER", "Folder of the known pairs, if they are a dataset of their own.")


def named_section(*, reads_memory: bool = False) -> Section:
    """Section of a command's help page."""
    lines = [*_LINES, *([_OF_MEMORY] if reads_memory else [])]
    return Section("to be named again, beside imports, if the run was not begun on this machine", lines)


def values_and_named(
    kind: type, arguments: Sequence[str], example: str, *, reads_memory: bool = False
) -> dict[str, Any]:
    """The values that a command line gives to the fields of a dataclass, see `values_by`.

    Args:
        kind: The dataclass, with the fields ``run``, ``imports`` and ``named``.
        arguments: Words of the command line.
        example: An argument that is right.
        reads_memory: Whether the command reads the dataset that the run's ``memory`` names.

    Raises:
        UserError: A setting that there is not, a value of the wrong kind, or something of a run is named
            without one.
    """
    again = {CACHE, ENCODER, *([MEMORY] if reads_memory else [])}
    own = [text for text in arguments if (key := text.partition("=")[0]) in again or key.startswith(DATA)]
    hints = typing.get_type_hints(kind, include_extras=True)
    hints.pop(NAMED)
    values = values_by(hints, [text for text in arguments if text not in own], example)
    named = values_by(dict.fromkeys((text.partition("=")[0] for text in own), str), own, example)
    if named and values.get("run") is None:
        raise UserError(f"{own[0]}: belongs to run=…")
    return values | {NAMED: {**named, **({IMPORTS: values[IMPORTS]} if IMPORTS in values else {})}}
