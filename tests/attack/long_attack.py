"""Long form of the attacks: damages with many seeds, kills and fuzzers, each for its share of the time."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.attack import manifest_fuzzer
from tests.attack.attack import Attacker, Outcome
from tests.attack.attack_figures import Figures
from tests.attack.damage import DAMAGES
from tests.attack.kills import KILLINGS, Killer
from tests.attack.victims import KINDS

Tell = Callable[[Figures], None]
SHARES = {"damages": 0.4, "kills": 0.3, "manifests": 0.1, "meshes": 0.06, "captions": 0.04, "indexes": 0.1}
"""Share of the time that each part has."""
_INDEXES = 200
"""Changed indexes at a time."""
_PIECE = 60.0
"""Seconds of a fuzzer at a time: it begins by loading what it attacks."""


def run(
    parts: list[str], attacker: Attacker, seconds: float, seed: int, scratch: Path, tell: Tell
) -> Figures:
    """Attacks until the time is up.

    Args:
        parts: Names of `SHARES`.
        attacker: Has the world.
        seconds: In all.
        seed: Of every draw; with the same one, and time enough, the same attacks are made.
        scratch: Folder for the fuzzers.
        tell: Called now and then with the figures so far.
    """
    figures = Figures()
    whole = sum(SHARES[part] for part in parts)
    for part in parts:
        end = time.monotonic() + seconds * SHARES[part] / whole
        if part in ONE_BY_ONE:
            for kind, again, outcome in ONE_BY_ONE[part](attacker, seed):
                figures.count(kind, outcome.verdict)
                if outcome.verdict == "WRONG":
                    figures.fault(kind, again, f"{outcome.victim or ''} {outcome.reason}", outcome.told)
                tell(figures)
                if time.monotonic() > end:
                    break
        else:
            FUZZERS[part](figures, end, seed, scratch / part, tell)
    return figures


def damages(attacker: Attacker, seed: int) -> Iterator[tuple[str, str, Outcome]]:
    """Damaged files without an end: every kind, reader and damage once, then with other seeds."""
    every = [(kind, reader, how) for kind in KINDS for reader in kind.readers for how in DAMAGES]
    for number in itertools.count(seed):
        random.Random(number).shuffle(every)
        for kind, reader, how in every:
            outcome = attacker.attack(kind, reader, how, number)
            if outcome is not None:
                yield kind.name, f"{kind.glob} {reader} {how} {number}", outcome


def kills(attacker: Attacker, seed: int) -> Iterator[tuple[str, str, Outcome]]:
    """Kills without an end."""
    killer = Killer(attacker)
    for number in itertools.count(seed):
        for killing in KILLINGS:
            yield (
                killing.name,
                f"{killing.work} {killing.recover} kill {number}",
                killer.kill(killing, number),
            )


def manifests(attacker: Attacker, seed: int) -> Iterator[tuple[str, str, Outcome]]:
    """Fuzzed manifests without an end."""
    for number in itertools.count(seed):
        for manifest in manifest_fuzzer.MANIFESTS:
            outcome = manifest_fuzzer.fuzz(attacker, manifest, number)
            yield "fuzzed: manifests", f"{manifest.glob} {manifest.reader} fuzz {number}", outcome


def meshes(figures: Figures, end: float, seed: int, scratch: Path, tell: Tell) -> None:
    """Fuzzed meshes, clouds, VRML and images."""
    from tests.attack import mesh_fuzzer

    _found("fuzzed: meshes and VRML", mesh_fuzzer.attack, figures, end, seed, tell)


def captions(figures: Figures, end: float, seed: int, scratch: Path, tell: Tell) -> None:
    """Fuzzed files of captions."""
    from tests.attack import caption_fuzzer

    _found("fuzzed: captions", caption_fuzzer.attack, figures, end, seed, tell)


def _found(
    kind: str, attack: Callable[..., object], figures: Figures, end: float, seed: int, tell: Tell
) -> None:
    piece = 0
    while (left := end - time.monotonic()) > 0:
        found = attack(min(left, _PIECE), seed + piece)
        piece += 1
        for (_, outcome), count in found.tried.items():  # type: ignore[attr-defined]
            verdict = {"read": "same", "refused": "refused"}.get(outcome, "WRONG")
            figures.count(kind, verdict, count)
        for fault, (name, _, verdict) in found.faults.items():  # type: ignore[attr-defined]
            figures.fault(kind, f"seed {seed + piece - 1}: {name}", fault, verdict.detail[-1500:])
        tell(figures)


def indexes(figures: Figures, end: float, seed: int, scratch: Path, tell: Tell) -> None:
    """Fuzzed index folders with their checksums made anew."""
    from tests.attack import index_fuzzer

    kind = "fuzzed: index folders"
    for number in itertools.count(seed):
        tally = index_fuzzer.fuzz(scratch / str(number), _INDEXES, number)
        for outcome, count in tally.outcomes.items():
            verdict = {"answered": "same", "refused": "refused"}.get(outcome, "WRONG")
            figures.count(kind, verdict, count)
        for fault in tally.faults:
            figures.fault(kind, fault[:40], fault)
        tell(figures)
        if time.monotonic() > end:
            break


ONE_BY_ONE = {"damages": damages, "kills": kills, "manifests": manifests}
FUZZERS = {"meshes": meshes, "captions": captions, "indexes": indexes}
