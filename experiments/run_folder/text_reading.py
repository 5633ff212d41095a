"""Code that reads texts, as a run notes it, and one line where it is no longer what the run was trained with.

Words, numbers and units are read by rules. When these change, a finished run's model gets other tokens and
other quantities than it has learned from, and its numbers do not come out again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from align3d.console.terminal import say
from align3d.hashing import hash_code

MODULES = (
    "align3d.captions",
    "durable.plain_text",
    "models.number_units",
    "models.quantities",
    "models.text",
    "models.units",
    "models.words",
)
NOTE = "text"
"""Under which the origins of a run have it."""
_DIGITS = 24
_ADVICE = "its own numbers may not come out again; train it again to have them"


def text_code() -> dict[str, str]:
    """Hashes of the modules that read texts, by their names."""
    return {name: hash_code(name)[:_DIGITS] for name in MODULES}


def tell_other_reading(folder: Path, state: Mapping[str, Any]) -> None:
    """One line on stderr where texts are read otherwise than when a run was trained, or nobody knows.

    Args:
        folder: Of the run.
        state: Of its last checkpoint.
    """
    origins = state.get("origins")
    noted = origins.get(NOTE) if isinstance(origins, Mapping) else None
    if not isinstance(noted, Mapping):
        say(f"run={folder}: does not note by which code it read texts, so {_ADVICE}", error=True)
    elif changed := [name for name, own in text_code().items() if noted.get(name) != own]:
        say(
            f"run={folder}: text is read otherwise than when this run was trained: {', '.join(changed)} "
            f"changed, so {_ADVICE}",
            error=True,
        )
