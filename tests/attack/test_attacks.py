"""Every file that is read again is damaged: numbers stay, are made anew, or the file is named and refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.attack.attack import ALLOWED, Attacker, unknown
from tests.attack.forks import ForkServer
from tests.attack.kills import KILLINGS, Killer, Killing
from tests.attack.made_world import make_world
from tests.attack.victims import COSTLY, KINDS, Kind, victims

EVERY, SOME = ("flip", "cut", "empty", "delete"), ("flip", "cut")
"""Damages by the first reader of a kind, and by others and costly ones; ``make attack`` has many more."""
SEED = 0
CHEAP = [killing for killing in KILLINGS if killing.work in ("replaced", "index_saved")]
"""Kills of the ordinary tests."""
CASES = [
    (kind, reader, how)
    for kind in KINDS
    for reader in kind.readers
    for how in (EVERY if reader == kind.readers[0] and reader not in COSTLY else SOME)
]


@pytest.fixture(scope="module")
def attacker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacker]:
    base = tmp_path_factory.mktemp("attack")
    with ForkServer(base / "server.txt") as server:
        yield Attacker(server, make_world(server, base / "world"), base / "copy")


def test_every_file_is_of_a_kind_in_the_table(attacker: Attacker) -> None:
    assert not unknown(attacker.files)


def test_every_kind_in_the_table_has_a_file(attacker: Attacker) -> None:
    assert not [kind.glob for kind in KINDS if kind.readers and not victims(kind, attacker.files)]


@pytest.mark.parametrize(
    ("kind", "reader", "how"), CASES, ids=[f"{kind.glob} {reader} {how}" for kind, reader, how in CASES]
)
def test_a_damaged_file_is_never_believed(attacker: Attacker, kind: Kind, reader: str, how: str) -> None:
    outcome = attacker.attack(kind, reader, how, SEED)
    if outcome is not None:
        assert outcome.verdict in ALLOWED, f"{outcome.victim}: {outcome.reason}\n{outcome.told}"


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("killing", CHEAP, ids=[killing.work for killing in CHEAP])
def test_a_killed_work_goes_on_and_loses_nothing(attacker: Attacker, killing: Killing, seed: int) -> None:
    outcome = Killer(attacker).kill(killing, seed)
    assert outcome.verdict in ALLOWED, f"{outcome.reason}\n{outcome.told}"
