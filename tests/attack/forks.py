"""Client of the fork server, and what came of a reading."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.attack.world import ERR, EVENTS, NUMBERS, OUT, REPORTS, World

ROOT = Path(__file__).parents[2]
SECONDS = 300.0
"""After which a reading is taken for one that hangs."""


@dataclass(frozen=True)
class Reading:
    """What came of a reading.

    Attributes:
        code: Exit code, negative for the signal that ended it, None if it hung.
        out: Its standard output.
        err: Its standard error.
        numbers: What the reader returned; None where it did not.
        events: Changes of files that it made, if it came to its end.
        seconds: That it took.
    """

    code: int | None
    out: str
    err: str
    numbers: Any
    events: int = 0
    seconds: float = 0.0


class ForkServer:
    """A running `tests.attack.fork_server`; a context that ends it.

    Args:
        log: File for what the server itself prints.

    Attributes:
        spent: Seconds of a processor that each reader took, over all readings.
    """

    def __init__(self, log: Path) -> None:
        one = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "MPLBACKEND": "agg"}
        paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        with log.open("w") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.attack.fork_server"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                cwd=ROOT,
                env={**os.environ, **one, "PYTHONPATH": paths},
            )
        self._log = log
        self.spent = Counter[str]()
        self._answer()

    def read(
        self, reader: str, world: World, *, event: int | None = None, after: float | None = None
    ) -> Reading:
        """Runs a reader of `tests.attack.world_readers` in a world.

        Args:
            reader: Its name.
            world: Where.
            event: Kill it before so many changes of files, counted from 1.
            after: Kill it after so many seconds.
        """
        assert self._process.stdin is not None
        for name in REPORTS:
            (world.folder / name).unlink(missing_ok=True)
        request = {"reader": reader, "world": str(world.folder), "seconds": SECONDS}
        request |= {"event": event, "after": after}
        start = time.monotonic()
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        code = answer["code"]
        self.spent[reader] += answer["cpu"]
        out, err = ((world.folder / name).read_text(errors="replace") for name in (OUT, ERR))
        seconds, numbers, events = time.monotonic() - start, None, 0
        if code == 0:
            numbers = json.loads((world.folder / NUMBERS).read_text())
            events = int((world.folder / EVENTS).read_text())
        return Reading(code, out, err, numbers, events, seconds)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the fork server has ended: {self._log.read_text()[-2000:]}")
        found: dict[str, Any] = json.loads(line)
        return found

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=SECONDS)
