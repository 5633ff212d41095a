"""Replay buffer: what it keeps, draws and restores."""

import pytest
import torch

from agents.mcts.replay import Replay

CAPACITY, SIZE, ACTIONS = 5, 3, 2


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def numbered(first, count):
    """Rows that tell their number in the first entry of ``observation``."""
    number = torch.arange(first, first + count).float()
    return {
        "observation": number[:, None].expand(-1, SIZE),
        "mask": torch.ones(count, ACTIONS, dtype=torch.bool),
        "policy": torch.tensor([[0.25, 0.75]]).expand(count, -1),
    }


def numbers(rows):
    return rows["observation"][:, 0]


def values(replay):
    return sorted(numbers(replay.tensors()).tolist())


def test_the_last_rows_are_kept_and_only_those_that_are_picked():
    replay = Replay(CAPACITY, SIZE, ACTIONS)
    replay.add(torch.tensor([True, False, True]), **numbered(0, 3))
    assert (len(replay), values(replay)) == (2, [0.0, 2.0])
    replay.add(torch.zeros(3, dtype=torch.bool), **numbered(3, 3))
    assert len(replay) == 2
    replay.add(torch.ones(4, dtype=torch.bool), **numbered(10, 4))
    assert (len(replay), values(replay)) == (5, [2.0, 10.0, 11.0, 12.0, 13.0])
    replay.add(torch.ones(9, dtype=torch.bool), **numbered(20, 9))
    assert values(replay) == [24.0, 25.0, 26.0, 27.0, 28.0]


def test_the_generator_decides_what_is_drawn_and_nothing_else_is_drawn_from():
    replay = Replay(CAPACITY, SIZE, ACTIONS)
    replay.add(torch.ones(4, dtype=torch.bool), **numbered(0, 4))
    before = torch.get_rng_state()
    first, again, other = (numbers(replay.sample(16, seeded(seed))) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert set(first.tolist()) <= {0.0, 1.0, 2.0, 3.0}
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("count", [0, 3, 5, 7])
def test_it_goes_on_after_a_restore(count):
    replay, other = (Replay(CAPACITY, SIZE, ACTIONS) for _ in range(2))
    replay.add(torch.ones(count, dtype=torch.bool), **numbered(0, count))
    replay.add(torch.ones(min(count, 2), dtype=torch.bool), **numbered(50, min(count, 2)))
    other.restore(replay.tensors())
    for one in (replay, other):
        one.add(torch.ones(2, dtype=torch.bool), **numbered(90, 2))
    left, right = replay.tensors(), other.tensors()
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert torch.equal(numbers(replay.sample(9, seeded())), numbers(other.sample(9, seeded())))
    moved = other.to(torch.device("cpu"))
    assert torch.equal(numbers(moved.tensors()), numbers(left))
    assert torch.equal(moved.tensors()["policy"], left["policy"])
