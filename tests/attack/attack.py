"""One attack: a file of a copied world is damaged and read, and what came of it is judged."""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.attack.damage import damage
from tests.attack.forks import ForkServer, Reading
from tests.attack.victims import TRUSTING, Kind, kinds_of, victims
from tests.attack.world import World

Verdict = Literal["same", "anew", "refused", "WRONG"]
ALLOWED: tuple[Verdict, ...] = ("same", "anew", "refused")
REFUSED = 2
"""Exit code of a command that refuses."""
RECORD = "metrics"
"""What readers call the lines of a record among their numbers."""
_SHOWN = 1500


@dataclass(frozen=True)
class Outcome:
    """What came of an attack.

    Attributes:
        verdict: ``same`` numbers, made ``anew`` or told of with the same numbers, ``refused`` by name, or
            ``WRONG``.
        reason: What is wrong; empty else.
        victim: The file, relative to the world; None where there was nothing to damage.
        told: End of what was said on stderr.
    """

    verdict: Verdict
    reason: str = ""
    victim: Path | None = None
    told: str = ""


class Attacker:
    """Attacks on copies of one world.

    Args:
        server: Runs the readers.
        world: What is attacked; it stays as it is.
        scratch: Folder for the copies.
    """

    def __init__(self, server: ForkServer, world: World, scratch: Path) -> None:
        self.server, self.world, self.scratch = server, world, scratch
        self.files = world.files()
        self._whole: dict[str, Any] = {}

    def whole(self, reader: str) -> Any:
        """Numbers that a reader returns in a world without any damage.

        Raises:
            RuntimeError: It does not, with what it said.
        """
        if reader not in self._whole:
            copy = self.copied()
            reading = self.server.read(reader, copy)
            if reading.code != 0:
                raise RuntimeError(f"{reader}, without any damage: exit code {reading.code}\n{reading.err}")
            self._whole[reader] = reading.numbers
        return self._whole[reader]

    def copied(self) -> World:
        """A fresh copy of the world; the one before is removed."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        return self.world.copy(self.scratch)

    def attack(self, kind: Kind, reader: str, how: str, seed: int) -> Outcome | None:
        """Damages a file of a kind and reads it; None where no file of the kind can be damaged so."""
        draws = random.Random(f"{kind.name} {kind.glob} {reader} {how} {seed}")
        found = victims(kind, self.files)
        whole = self.whole(reader)
        draws.shuffle(found)
        for victim in found:
            copy = self.copied()
            if damage(copy.folder / victim, how, draws):
                reading = self.server.read(reader, copy)
                return judge(kind, reader, victim, self.world, copy, reading, whole)
        return None


def judge(
    kind: Kind, reader: str, victim: Path, before: World, copy: World, reading: Reading, whole: Any
) -> Outcome:
    """Whether what came of a damage is allowed.

    Args:
        kind: Of the damaged file.
        reader: That has read it.
        victim: The file, relative to the world.
        before: The world without the damage.
        copy: The world with it.
        reading: What the reader did.
        whole: What it returns without the damage.
    """
    told = reading.err.strip()
    named = _names(kind, victim, copy, told)
    restored = _same_content(before.folder / victim, copy.folder / victim)

    def outcome(verdict: Verdict, reason: str = "") -> Outcome:
        return Outcome(verdict, reason, victim, f"{reading.out}\n{told}".strip()[-_SHOWN:])

    if reading.code is None:
        return outcome("WRONG", "it hangs")
    if reading.code < 0:
        return outcome("WRONG", f"ended by signal {-reading.code}")
    if "Traceback (most recent call last)" in reading.err:
        return outcome("WRONG", f"a traceback: {told.splitlines()[-1][:200]}")
    if reading.code == REFUSED:
        last = told.splitlines()[-1] if told else ""
        if not (last.startswith("error: ") and _names(kind, victim, copy, last)):
            return outcome("WRONG", f"refused without its name: {last[:300]}")
        return outcome("refused")
    if reading.code:
        return outcome("WRONG", f"exit code {reading.code}")
    found, expected = reading.numbers, whole
    if kind.holds == "record" and isinstance(found, dict):  # of which a part may be lost, but not in silence
        found, expected = ({**numbers, RECORD: None} for numbers in (found, expected))
    if found != expected:
        if reader in TRUSTING:
            return outcome("same")
        return outcome("WRONG", f"other numbers: {_difference(expected, found)}")
    complete = isinstance(reading.numbers, dict) and RECORD in reading.numbers and reading.numbers == whole
    if kind.holds == "record" and not (named or restored or complete):
        return outcome("WRONG", "lost in silence")
    return outcome("anew" if named or restored else "same")


def _names(kind: Kind, victim: Path, copy: World, told: str) -> bool:
    """Whether a text names the file, or the folder of files that it is one of."""
    names = [str(victim), victim.name]
    if not (copy.folder / victim).exists():
        names += kind.missing
    if len(victim.parts) > 2:  # not the run or the dataset as a whole
        names += [str(victim.parent), victim.parent.name + ":"]
    return any(name in told for name in names)


def _same_content(before: Path, after: Path) -> bool:
    return after.is_file() and before.read_bytes() == after.read_bytes()


def _difference(whole: Any, found: Any, place: str = "") -> str:
    """The first place where two nested values differ."""
    if isinstance(whole, dict) and isinstance(found, dict):
        for name in [*whole, *found]:
            if whole.get(name) != found.get(name):
                return _difference(whole.get(name), found.get(name), f"{place}/{name}")
    if isinstance(whole, list) and isinstance(found, list):
        if len(whole) != len(found):
            return f"{place}: {len(found)} instead of {len(whole)}"
        for number, (one, other) in enumerate(zip(whole, found, strict=True)):
            if one != other:
                return _difference(one, other, f"{place}/{number}")
    return f"{place}: {str(found)[:80]!r} instead of {str(whole)[:80]!r}"


def unknown(files: list[Path]) -> list[str]:
    """Files of no kind in the table."""
    return [str(path) for path in files if not kinds_of(path)]
