"""State of visitors: each open page has a name of its own, and nothing of another's."""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from align3d.errors import UserError

HEADER = "X-Visitor"
"""Header of a request that names the visitor: 32 hexadecimal digits, drawn when the page is opened."""
MOST, PATIENCE = 200, 3600.0
"""Visitors whose state is kept, and seconds for which one may say nothing."""
_NAME = re.compile(r"[0-9a-f]{32}")


@dataclass
class Visitor:
    """State of one open page.

    Attributes:
        state: What tabs keep of it, by a tab's name.
        lock: Held by the thread that changes it: a page may send several requests at once.
    """

    state: dict[str, Any] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)


class Visitors:
    """Visitors by name; the one that was heard of longest ago is forgotten first.

    Args:
        most: Visitors whose state is kept.
        patience: Seconds for which one may say nothing.
        clock: Tells seconds.
    """

    def __init__(
        self, most: int = MOST, patience: float = PATIENCE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most, self._patience, self._clock = most, patience, clock
        self._found: OrderedDict[str, tuple[float, Visitor]] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._found)

    def named(self, name: str | None) -> Visitor:
        """The visitor of a name, a new one where there is none.

        Raises:
            UserError: It is no name.
        """
        if name is None or not _NAME.fullmatch(name):
            raise UserError(f"{HEADER}: expected 32 hexadecimal digits; load the page anew")
        with self._lock:
            now = self._clock()
            while self._found and next(iter(self._found.values()))[0] < now - self._patience:
                self._found.popitem(last=False)
            _, visitor = self._found.pop(name, (now, Visitor()))
            self._found[name] = now, visitor
            if len(self._found) > self._most:
                self._found.popitem(last=False)
            return visitor
