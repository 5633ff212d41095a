"""Every file that is read again is damaged: numbers stay, are made anew, or the file is named and refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.attack.attack import ALLOWED, Attacker, unknown
from tests.attack.forks import ForkServer
from tests.attack.made_world import make_world
from tests.attack.victims import KINDS, Kind, victims

SHORT = (("flip", 0), ("flip", 1), ("cut", 0), ("empty", 0), ("delete", 0))
"""Damages and seeds of the ordinary tests; ``make attack`` has more."""
CASES = [(kind, reader) for kind in KINDS for reader in kind.readers]


@pytest.fixture(scope="module")
def attacker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacker]:
    base = tmp_path_factory.mktemp("attack")
    with ForkServer(base / "server.txt") as server:
        yield Attacker(server, make_world(server, base / "world"), base / "copy")


def test_every_file_is_of_a_kind_in_the_table(attacker: Attacker) -> None:
    assert not unknown(attacker.files)


def test_every_kind_in_the_table_has_a_file(attacker: Attacker) -> None:
    assert not [kind.glob for kind in KINDS if kind.readers and not victims(kind, attacker.files)]


@pytest.mark.parametrize(("how", "seed"), SHORT)
@pytest.mark.parametrize(("kind", "reader"), CASES, ids=[f"{kind.glob}-{reader}" for kind, reader in CASES])
def test_a_damaged_file_is_never_believed(
    attacker: Attacker, kind: Kind, reader: str, how: str, seed: int
) -> None:
    outcome = attacker.attack(kind, reader, how, seed)
    if outcome is not None:
        assert outcome.verdict in ALLOWED, f"{outcome.victim}: {outcome.reason}\n{outcome.told}"
