"""Long attack by hand: ``python -m tests.attack [seconds=600] [seed=0] [parts=kills,damages] [out=FILE]``."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from align3d.console.arguments import values_of
from align3d.console.command_frame import run_command
from align3d.console.help_page import Section, page, settings_of
from align3d.console.progress import Tracker
from align3d.errors import UserError
from experiments.console import tables
from tests.attack import manifest_fuzzer
from tests.attack.attack import Attacker, Outcome
from tests.attack.attack_figures import Figures
from tests.attack.forks import ROOT, ForkServer
from tests.attack.kills import KILLINGS, Killer
from tests.attack.long_attack import SHARES, run
from tests.attack.made_world import make_world
from tests.attack.victims import KINDS

SCHEMA = 1
WIDTH = 120


@dataclass(frozen=True)
class Settings:
    """Settings of the command.

    Attributes:
        seconds: Time of the attacks, beside half a minute in which the world is made.
        seed: Seed of every draw.
        parts: Parts of the attack.
        out: File of the figures as JSON.
        case: One attack alone, as a fault names it.
    """

    seconds: Annotated[float, Field(gt=0)] = 600.0
    seed: Annotated[int, Field(ge=0)] = 0
    parts: tuple[str, ...] = tuple(SHARES)
    out: Path | None = None
    case: str | None = None


def usage() -> str:
    """Help page of the command."""
    return page(
        "Damages, kills and fuzzes all that is written and read again; exit code 1 where anything is wrong.",
        ["python -m tests.attack [key=value ...]"],
        "python -m tests.attack seconds=60 parts=kills",
        [Section("settings", settings_of(Settings))],
    )


def main(arguments: Sequence[str]) -> int:
    """Attacks; the exit code, 1 where anything was wrong."""
    wrong: list[int] = []
    code = run_command(arguments, usage, lambda words: wrong.append(attack(parse(words))), bare=True)
    return code or int(sum(wrong) > 0)


def parse(arguments: Sequence[str]) -> Settings:
    """The settings of a command line.

    Raises:
        UserError: A setting that there is not, or a value of the wrong kind.
    """
    settings = Settings(**values_of(Settings, arguments, "seconds=60"))
    for part in settings.parts:
        if part not in SHARES:
            raise UserError(f"parts={part}: no such part (known: {', '.join(SHARES)})")
    return settings


def attack(settings: Settings) -> int:
    """Makes the world and attacks it; how many attacks were wrong."""
    with (
        tempfile.TemporaryDirectory(prefix="attack-") as name,
        ForkServer(Path(name) / "server.txt") as server,
    ):
        base = Path(name)
        print("making a run, a dataset, an index and their caches", file=sys.stderr, flush=True)
        world = make_world(server, base / "world")
        attacker = Attacker(server, world, base / "copy")
        if settings.case is not None:
            outcome = once(attacker, settings.case)
            print(f"{outcome.verdict}: {outcome.victim or ''} {outcome.reason}\n{outcome.told}")
            return int(outcome.verdict == "WRONG")
        figures = _timed(attacker, settings, base / "fuzzers")
    tables.show(figures.table(), WIDTH)
    for fault in figures.wrong:
        print(f"WRONG: {fault['kind']}: case='{fault['again']}': {fault['reason']}")
    if settings.out is not None:
        content = {"schema": SCHEMA, "settings": vars(settings), **_origin(), **figures.as_json()}
        settings.out.write_text(json.dumps(content, indent=1, default=str) + "\n")
        print(f"attack: {settings.out}")
    return figures.faults


def once(attacker: Attacker, case: str) -> Outcome:
    """One attack, as a fault names it.

    Raises:
        UserError: There is none of that name.
    """
    words = case.split()
    if len(words) == 4 and words[3].isdecimal():
        first, second, how, seed = *words[:3], int(words[3])
        for killing in KILLINGS:
            if (how, killing.work, killing.recover) == ("kill", first, second):
                return Killer(attacker).kill(killing, seed)
        for manifest in manifest_fuzzer.MANIFESTS:
            if (how, manifest.glob, manifest.reader) == ("fuzz", first, second):
                return manifest_fuzzer.fuzz(attacker, manifest, seed)
        for kind in KINDS:
            if kind.glob == first and second in kind.readers:
                outcome = attacker.attack(kind, second, how, seed)
                return outcome or Outcome("same", "nothing there can be damaged so")
    raise UserError(f"case={case}: expected FILES READER DAMAGE SEED, as a fault names it")


def _timed(attacker: Attacker, settings: Settings, scratch: Path) -> Figures:
    """All attacks, under a progress bar in seconds."""
    start, shown = time.monotonic(), 0
    with Tracker("attacking", round(settings.seconds), "seconds") as tracker:

        def tell(figures: Figures) -> None:
            nonlocal shown
            now = min(int(time.monotonic() - start), tracker.total)
            attacks = sum(counted.total() for counted in figures.outcomes.values())
            tracker.advance(now - shown, note=f"{attacks:,} attacks, {figures.faults} wrong")
            shown = now

        return run(list(settings.parts), attacker, settings.seconds, settings.seed, scratch, tell)


def _origin() -> dict[str, str]:
    """Where figures come from."""
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {"commit": done.stdout.strip(), "system": platform.platform(), "python": platform.python_version()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
