"""Kills of programs that write: before any change of a file, or at any moment; then the work goes on."""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass
from typing import Any

from tests.attack.attack import Attacker, Outcome
from tests.attack.forks import Reading
from tests.attack.world import World

MOST_KILLS = 3


@dataclass(frozen=True)
class Killing:
    """A kind of work that is killed.

    Attributes:
        name: Of the kind, for figures.
        work: Reader that is killed.
        recover: Reader that goes on; it may be killed as well.
        removed: Patterns of what is taken away before, so that there is work to do.
        old: Reader of the state before; None where only the work's own numbers are right in the end.
    """

    name: str
    work: str
    recover: str
    removed: tuple[str, ...] = ()
    old: str | None = None


KILLINGS = (
    Killing("kills: runs", "trained", "trained_on"),
    Killing("kills: runs without a warm-up", "trained", "trained_on", ("cache/warmups",)),
    Killing("kills: builds", "built", "built"),
    Killing("kills: builds", "rebuilt", "rebuilt", ("dataset*",)),
    Killing("kills: replaced datasets", "replaced", "dataset_verified", (), "dataset_verified"),
    Killing("kills: index saves", "index_saved", "index_kept", (), "index_kept"),
    Killing("kills: libraries", "searched", "searched", ("run/search",)),
    Killing("kills: indexes of runs", "tree", "tree", ("run/index*",)),
    Killing("kills: caches", "corpus", "corpus", ("cache/shapes", "cache/procedural-*")),
)


class Killer:
    """Kills in copies of an attacked world.

    Args:
        attacker: Has the world.
    """

    def __init__(self, attacker: Attacker) -> None:
        self._attacker = attacker
        self._whole: dict[Killing, Reading] = {}

    def kill(self, killing: Killing, seed: int) -> Outcome:
        """Kills a work once or more, lets it go on, and compares what comes of it with the whole."""
        draws = random.Random(f"{killing} {seed}")
        whole, world = self._done(killing), self._world(killing)
        reader, moments = killing.work, []
        for _ in range(draws.randint(1, MOST_KILLS) if killing.old is None else 1):
            if draws.random() < 0.5 and whole.events:
                event, after = draws.randint(1, whole.events), None
                moments.append(f"before change {event}")
            else:
                event, after = None, draws.uniform(0.02, whole.seconds)
                moments.append(f"after {after:.2f} s")
            reading = self._attacker.server.read(reader, world, event=event, after=after)
            if reading.code not in (0, -9):
                return self._judge(killing, reading, [whole.numbers], moments)
            reader = killing.recover
        allowed = [whole.numbers]
        if killing.old is not None:
            allowed.append(self._attacker.whole(killing.old))
        return self._judge(killing, self._attacker.server.read(killing.recover, world), allowed, moments)

    def _done(self, killing: Killing) -> Reading:
        """The work without a kill."""
        if killing not in self._whole:
            reading = self._attacker.server.read(killing.work, self._world(killing))
            if reading.code != 0:
                raise RuntimeError(f"{killing.work}: exit code {reading.code}\n{reading.err}")
            self._whole[killing] = reading
        return self._whole[killing]

    def _world(self, killing: Killing) -> World:
        world = self._attacker.copied()
        for pattern in killing.removed:
            for path in world.folder.glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        return world

    @staticmethod
    def _judge(killing: Killing, reading: Reading, allowed: list[Any], moments: list[str]) -> Outcome:
        told = f"{killing.work}, killed {', then '.join(moments)}\n{reading.err[-1500:]}"
        if reading.code != 0:
            what = "hangs" if reading.code is None else f"exit code {reading.code}"
            last = reading.err.strip().splitlines()[-1:]
            return Outcome("WRONG", f"{killing.recover} {what}: {''.join(last)[:200]}", None, told)
        if reading.numbers not in allowed:
            return Outcome("WRONG", f"{killing.recover}: other numbers", None, told)
        return Outcome("same", "", None, told)
