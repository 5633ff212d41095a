"""Result of a task: measurements by title, more of them for the file, and what was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from experiments.tasks.measured import Measured

ALL_CORRUPTIONS = "over corruptions"
"""Title of what is measured over several of them."""


@dataclass(frozen=True)
class Found:
    """Result of a task.

    Attributes:
        shown: Measurements by title, for the terminal and the file.
        details: More of them, for the file and the page alone.
        facts: What was asked.
    """

    shown: Mapping[str, Sequence[Measured]]
    details: Mapping[str, Sequence[Measured]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
