"""Replay buffer: what it keeps, draws and restores."""

import pytest
import torch

from agents.mcts.replay import Replay

CAPACITY, SIZE, ACTIONS, MEMBERS = 5, 3, 2, 2


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def numbered(first, count):
    """Rows that tell their number in ``value``."""
    number = torch.arange(first, first + count).float()
    return {
        "observation": number[:, None].expand(-1, SIZE),
        "mask": torch.ones(count, ACTIONS, dtype=torch.bool),
        "gains": torch.stack([number, -number], 1),
        "tried": torch.tensor([[True, False]]).expand(count, -1),
        "value": number,
        "known": torch.ones(count, dtype=torch.bool),
    }


def values(replay):
    return sorted(replay.tensors()["value"].tolist())


def test_the_last_rows_are_kept_and_only_those_that_are_picked():
    replay = Replay(CAPACITY, SIZE, ACTIONS, MEMBERS)
    replay.add(torch.tensor([True, False, True]), **numbered(0, 3))
    assert (len(replay), values(replay)) == (2, [0.0, 2.0])
    replay.add(torch.zeros(3, dtype=torch.bool), **numbered(3, 3))
    assert len(replay) == 2
    replay.add(torch.ones(4, dtype=torch.bool), **numbered(10, 4))
    assert (len(replay), values(replay)) == (5, [2.0, 10.0, 11.0, 12.0, 13.0])
    replay.add(torch.ones(9, dtype=torch.bool), **numbered(20, 9))
    assert values(replay) == [24.0, 25.0, 26.0, 27.0, 28.0]


def test_what_is_left_out_has_no_target():
    replay = Replay(CAPACITY, SIZE, ACTIONS, MEMBERS)
    replay.add(torch.ones(2, dtype=torch.bool), observation=torch.ones(2, SIZE))
    drawn = replay.sample(4, seeded())
    assert not bool(drawn["known"].any() | drawn["tried"].any() | drawn["policy"].any())
    assert float(replay.scale()) == 1.0
    assert set(drawn) == {
        "observation",
        "mask",
        "policy",
        "gains",
        "tried",
        "value",
        "known",
        "bootstrap_weights",
    }


def test_the_scale_is_that_of_the_gains_that_were_tried():
    replay = Replay(CAPACITY, SIZE, ACTIONS, MEMBERS)
    assert float(replay.scale()) == 1.0
    rows = numbered(3, 2)
    rows["gains"] = rows["gains"] * rows["tried"]
    replay.add(torch.ones(2, dtype=torch.bool), **rows)
    assert float(replay.scale()) == pytest.approx((25 / 2) ** 0.5)


def test_the_generator_decides_what_is_drawn_and_nothing_else_is_drawn_from():
    replay = Replay(CAPACITY, SIZE, ACTIONS, MEMBERS)
    replay.add(torch.ones(4, dtype=torch.bool), **numbered(0, 4))
    before = torch.get_rng_state()
    first, again, other = (replay.sample(16, seeded(seed))["value"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert set(first.tolist()) <= {0.0, 1.0, 2.0, 3.0}
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("count", [0, 3, 5, 7])
def test_it_goes_on_after_a_restore(count):
    replay, other = (Replay(CAPACITY, SIZE, ACTIONS, MEMBERS) for _ in range(2))
    replay.add(torch.ones(count, dtype=torch.bool), **numbered(0, count))
    replay.add(torch.ones(min(count, 2), dtype=torch.bool), **numbered(50, min(count, 2)))
    other.restore(replay.tensors())
    for one in (replay, other):
        one.add(torch.ones(2, dtype=torch.bool), **numbered(90, 2))
    left, right = replay.tensors(), other.tensors()
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert torch.equal(replay.sample(9, seeded())["value"], other.sample(9, seeded())["value"])
    moved = other.to(torch.device("cpu"))
    assert torch.equal(moved.tensors()["value"], left["value"])
