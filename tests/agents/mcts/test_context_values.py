"""Values of calibrations in a context: what they are made of, and what they find."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from agents.mcts.context_values import FEWEST, ContextValues
from agents.multisets import NOTHING, Multiset

GRID: list[Multiset] = [(0,) * a + (1,) * b for a in range(4) for b in range(4) if a + b]


def surface(observation: Tensor, multiset: Multiset) -> Tensor:
    """Returns that are quadratic in the steps, with slopes that depend on the observation."""
    a, b = multiset.count(0), multiset.count(1)
    best = 1.5 + observation[:, 0]
    return best.square() - (a - best).square() + 0.5 * b - 0.2 * b * b + 0.1 * a * b


def recorded(episodes: int, noise: float = 0.0, idle: int = 3, tried: int = len(GRID)) -> ContextValues:
    draws = torch.Generator().manual_seed(0)
    values = ContextValues(8, 2, 10_000)
    for start in range(0, episodes, 10):
        observation = torch.randn(min(10, episodes - start), 1 + idle, generator=draws)
        some = torch.randperm(len(GRID), generator=draws)[:tried].tolist()
        gains = {}
        for place in some:
            luck = noise * torch.randn(len(observation), generator=draws)
            gains[GRID[place]] = surface(observation, GRID[place]) + luck
        values.record(observation, gains)
    values.fit()
    return values


def off(values: ContextValues) -> float:
    """Largest error of the predictions for new observations."""
    observation = torch.randn(200, values.observations.shape[1], generator=torch.Generator().manual_seed(1))
    predicted = values.predict(observation.clamp(-2, 2))
    expected = [surface(observation.clamp(-2, 2), multiset) for multiset in values.fitted]
    # The square of what is observed is no linear function of it: compare what one more step adds.
    errors = []
    for column, multiset in enumerate(values.fitted):
        more = tuple(sorted((*multiset, 1)))
        if more in values.fitted:
            place = values.fitted.index(more)
            found = predicted[:, place] - predicted[:, column]
            errors.append(float((found - (expected[place] - expected[column])).abs().max()))
    return max(errors)


def test_a_quadratic_surface_is_found_from_half_of_it() -> None:
    assert off(recorded(200)) < 0.6  # of slopes whose standard deviation is 2
    assert off(recorded(200, tried=8)) < 0.6


def test_an_episode_that_comes_again_counts_once() -> None:
    observation = torch.randn(20, 3, generator=torch.Generator().manual_seed(4))
    once, again = ContextValues(8, 2, 100), ContextValues(8, 2, 100)
    gains = {(0,): surface(observation, (0,)), (1,): surface(observation, (1,))}
    once.record(observation, gains)
    for _ in range(3):
        again.record(observation.flip(0), {one: gain.flip(0) for one, gain in gains.items()})
    for values in (once, again):
        values.fit()
    assert len(again.observations) == 20
    torch.testing.assert_close(again.predict(observation), once.predict(observation))


def test_few_episodes_are_not_judged_and_old_ones_make_room() -> None:
    values = ContextValues(8, 2, FEWEST + 1)
    observation = torch.randn(FEWEST - 1, 3, generator=torch.Generator().manual_seed(5))
    values.record(observation, {(0,): surface(observation, (0,))})
    values.fit()
    assert values.fitted == [NOTHING]
    assert values.predict(observation).tolist() == [[0.0]] * (FEWEST - 1)
    assert values.choose(observation, 0.0).tolist() == [0] * (FEWEST - 1)
    more = torch.randn(FEWEST, 3, generator=torch.Generator().manual_seed(6))
    values.record(more, {(1,): surface(more, (1,))})
    values.fit()
    assert values.fitted == [NOTHING, (1,)]
    assert values.predict(more)[:, 0].tolist() == [0.0] * FEWEST
    torch.testing.assert_close(values.observations, torch.cat([observation[-1:], more]))
    assert values.means()[(1,)] == pytest.approx(float(surface(more, (1,)).double().mean()))
    values.forget([(1,)])
    assert list(values.columns) == [(0,)]
    assert values.count.sum(0).tolist() == [1]


def test_a_state_whose_parts_do_not_fit_is_refused() -> None:
    state = recorded(40).tensors()
    for name in state.keys() - {"multisets", "observations", "fitted"}:
        with pytest.raises(ValueError, match=r": expected \["):
            ContextValues(8, 2, 100).restore(state | {name: state[name][..., :-1]})
