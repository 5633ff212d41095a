"""Ids and their rows after any changes, as a dictionary has them."""

from __future__ import annotations

import numpy as np
import pytest

from retrieval.ers import ids as module
from retrieval.ers.ids import IdMap


@pytest.mark.parametrize("fewest", [0, 10, 10_000])
@pytest.mark.parametrize("seed", range(4))
def test_ids_are_those_of_a_dictionary(monkeypatch: pytest.MonkeyPatch, fewest: int, seed: int) -> None:
    monkeypatch.setattr(module, "_FEWEST_LATE", fewest)
    rng = np.random.default_rng(seed)
    first = rng.choice(300, 100, replace=False).astype(np.int64)
    ids, known = IdMap(first.copy(), np.ones(100, bool)), dict(zip(first.tolist(), range(100), strict=True))
    for _ in range(60):
        gone = rng.choice(list(known), min(len(known), int(rng.integers(0, 30))), replace=False)
        new = rng.choice(300, int(rng.integers(0, 30)), replace=False).astype(np.int64)
        new = new[[one not in known or one in gone for one in new.tolist()]]
        rows = ids.vacant(len(new), int(rng.integers(0, 100)))
        assert not set(rows.tolist()) & set(known.values())
        before = ids.living().tolist(), len(ids.of_row)
        ids.plan(new, rows, gone)  # a change that is not made
        assert (ids.living().tolist(), len(ids.of_row)) == before == (sorted(known), len(ids.alive))
        ids.commit(ids.plan(new, rows, gone))
        for one in gone.tolist():
            del known[one]
        known |= dict(zip(new.tolist(), rows.tolist(), strict=True))
        assert len(ids) == len(known)
        assert ids.living().tolist() == sorted(known)
        assert ids.living_rows().tolist() == [known[one] for one in sorted(known)]
        assert ids.rows_at(np.arange(len(known))).tolist() == ids.living_rows().tolist()
        assert ids.rows(np.arange(300)).tolist() == [known.get(one, -1) for one in range(300)]
        assert np.flatnonzero(ids.alive).tolist() == sorted(known.values())


@pytest.mark.parametrize("old", [np.arange(2, 900, 2), np.arange(0)])
@pytest.mark.parametrize("new", [[], [1], [501, 3, 999], list(range(1, 1000, 2))])
def test_places_among_late_ids_are_found(old: np.ndarray, new: list[int]) -> None:
    ids = IdMap(old.copy(), np.ones(len(old), bool))
    late = np.array(new, np.int64)
    ids.reserve(2000)
    ids.commit(ids.plan(late, ids.vacant(len(late), 0), late[:0]))
    places = np.random.default_rng(0).permutation(len(ids))[:200]
    assert ids.rows_at(places).tolist() == ids.living_rows()[places].tolist()


def test_an_array_that_grows_is_seldom_copied() -> None:
    grown, copies = module.Growing(np.arange(1000)), 0
    for length in range(1001, 3000):
        longer = grown.longer(length)
        copies += not np.shares_memory(longer.values, grown.values)
        grown = longer
    assert grown.values[:1000].tolist() == list(range(1000))
    assert copies < 12
    assert grown.nbytes < 8 * 3000 * 1.13
