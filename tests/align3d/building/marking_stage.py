"""Stage that waits, on workers of its own where a build is spread: it says where each shape was captioned."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from align3d.building.stages import Draft, Recipe
from align3d.record import Record


@dataclass(frozen=True)
class Marking:
    log: str
    seconds: float = 0.0
    apart: bool = True

    def fingerprint(self) -> str:
        return "marking"

    def __call__(self, drafts: Iterator[Draft], recipe: Recipe) -> Iterator[Draft]:
        for draft in drafts:
            with Path(self.log).open("a") as file:
                file.write(f"{draft.item} {node()} {os.getpid()}\n")
            time.sleep(self.seconds)
            if isinstance(record := draft.outcome, Record):
                draft = replace(draft, outcome=replace(record, captions=(*record.captions, "marked")))
            yield draft


def node() -> str:
    """The machine of Ray that this process belongs to; ``here`` outside of Ray."""
    try:
        import ray
    except ImportError:
        return "here"
    return str(ray.get_runtime_context().get_node_id()) if ray.is_initialized() else "here"
