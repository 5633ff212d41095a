"""Process with everything loaded that forks a child for each reading: ``python -m tests.attack.fork_server``.

A reading that crashes, hangs or leaves a global setting behind harms nothing but its child, and costs no
imports. A request is a line of JSON on stdin: ``reader``, ``world``, ``seconds``, and ``event`` or ``after``
where the child is to be killed. The answer is a line of JSON on stdout: ``code``, negative for a signal and
null for one that hung, and ``cpu``, the seconds of a processor that it took. In the world are then what the
child printed (``stdout.txt``, ``stderr.txt``), what its reader returned (``numbers.json``), and how many
changes of files Python made for it (``events.txt``).
"""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import IO, Any

from tests.attack import made_world  # noqa: F401  the readers that make a world
from tests.attack.world import ERR, EVENTS, NUMBERS, OUT, World
from tests.attack.world_readers import READERS, prepare

MOST_MEMORY = 6 << 30
"""Bytes of address space that a child may have beyond what is loaded: a damaged size must not take all."""
_POLL = 0.002
_CHANGING = {f"os.{name}" for name in ("rename", "remove", "rmdir", "mkdir", "truncate", "link", "symlink")}


def main() -> None:
    """Answers requests until there are no more."""
    prepare()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    print(json.dumps({"ready": True}), file=answers)
    for line in sys.stdin:
        code, spent = _forked(json.loads(line), answers)
        print(json.dumps({"code": code, "cpu": spent}), file=answers)


def _forked(request: dict[str, Any], answers: IO[str]) -> tuple[int | None, float]:
    """The exit code of a child, and the seconds of a processor that it took."""
    child = os.fork()
    if not child:
        answers.close()
        _read(request["reader"], World(Path(request["world"])), request.get("event"))
    start, after = time.monotonic(), request.get("after")
    while True:
        done, status, used = os.wait4(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime
        spent = time.monotonic() - start
        if spent > min(request["seconds"], after or math.inf):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None if after is None else -signal.SIGKILL, spent
        time.sleep(_POLL)


def _read(reader: str, world: World, kill_at: int | None) -> None:
    """Runs a reader in the child, which ends here."""
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, name in ((1, OUT), (2, ERR)):
            os.dup2(os.open(world.folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + MOST_MEMORY,) * 2)
        world.enter()
        changes = _Changes(world, kill_at)
        numbers = READERS[reader](world)
        made = changes.made
        (world.folder / NUMBERS).write_text(json.dumps(numbers))
        (world.folder / EVENTS).write_text(str(made))
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


class _Changes:
    """Counter of the changes that Python makes to files of a world (compiled libraries make others).

    Args:
        world: The world.
        kill_at: Number of the change before which the process kills itself; None for never.
    """

    def __init__(self, world: World, kill_at: int | None) -> None:
        self.made, self._kill_at, self._folder = 0, kill_at, str(world.folder)
        sys.addaudithook(self._count)

    def _count(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            if not isinstance(arguments[2], int) or not arguments[2] & (os.O_WRONLY | os.O_RDWR):
                return
        elif event not in _CHANGING:
            return
        if not str(arguments[0]).startswith(self._folder):
            return
        self.made += 1
        if self.made == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
