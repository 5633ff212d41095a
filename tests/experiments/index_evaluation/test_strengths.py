"""Strengths of memory: found where they help, at rest where they do not surely, taken where given."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.index_evaluation.strengths import Strengths, choose_strengths

Parts = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def parts(seed: int, help_: float, queries: int = 400, candidates: int = 30) -> Parts:
    """Scores in which recall knows the right candidate, and hubs stand before it."""
    draw = np.random.default_rng(seed)
    right = np.zeros((queries, candidates), bool)
    right[np.arange(queries), draw.integers(0, candidates, queries)] = True
    hubness = draw.normal(size=candidates)
    base = draw.normal(size=right.shape) + 1.5 * right + help_ * hubness
    recalled = draw.normal(size=right.shape) + 2 * help_ * right
    return base.astype(np.float32), recalled.astype(np.float32), hubness.astype(np.float32), right


def test_what_helps_is_found_and_gains_as_much_on_other_queries() -> None:
    covered = []
    for seed in range(10):
        base, recalled, hubness, right = parts(seed, 1.0, queries=2000)
        chosen = choose_strengths(base[:500], recalled[:500], hubness, right[:500])
        assert not chosen.rests
        assert chosen.recall >= 0.5
        assert 0.5 <= chosen.hubness <= 1.5
        base, recalled, right = base[500:], recalled[500:], right[500:]
        rows = np.arange(len(base))
        moved = base + chosen.recall * recalled - chosen.hubness * hubness
        gain = right[rows, moved.argmax(1)].mean() - right[rows, base.argmax(1)].mean()
        assert chosen.gain == pytest.approx(gain, abs=0.1)
        covered.append(chosen.sure < gain)
        assert f"recall {chosen.recall:g}, hubness {chosen.hubness:g}" in str(chosen)
    assert sum(covered) >= 8


def test_noise_rests_in_most_draws() -> None:
    found = [choose_strengths(*parts(seed, 0.0), seed=seed) for seed in range(40)]
    acting = [one for one in found if not one.rests]
    assert len(acting) <= 6
    for one in found:
        if one.rests:
            assert (one.recall, one.hubness) == (0, 0)
            assert str(one).startswith("rests (gain on the reward split")


def test_what_the_user_gives_is_taken_whatever_it_gains() -> None:
    chosen = choose_strengths(*parts(0, 0.0), recalls=(2.0,), hubnesses=(3.0,))
    assert (chosen.recall, chosen.hubness, chosen.given, chosen.rests) == (2, 3, True, False)
    half = choose_strengths(*parts(0, 1.0), recalls=(0.0,))
    assert half.recall == 0
    assert half.hubness > 0


def test_of_equal_strengths_the_least_is_taken() -> None:
    base, recalled, hubness, right = parts(0, 1.0)
    chosen = choose_strengths(base, np.zeros_like(recalled), np.zeros_like(hubness), right)
    assert chosen == Strengths(0, 0, 0, 0)
    assert chosen.rests


def test_a_candidate_that_is_missing_is_never_taken() -> None:
    base, recalled, hubness, right = parts(0, 1.0)
    base[:, 10:] = -np.inf
    right[:, :10] = False
    assert choose_strengths(base, recalled, hubness, right).gain == 0
