import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from align3d.errors import UserError
from experiments.run_folder import checkpoint

plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
nested = st.recursive(
    plain,
    lambda children: (
        st.lists(children, max_size=3)
        | st.lists(children, max_size=3).map(tuple)
        | st.dictionaries(st.text() | st.integers(), children, max_size=3)
    ),
    max_leaves=10,
)


@given(nested)
def test_nested_values_survive_json(value: object) -> None:
    written = json.loads(json.dumps(checkpoint.pack(value, {})))
    assert checkpoint.unpack(written, {}) == value


def test_an_optimiser_survives_and_goes_on_alike(tmp_path: Path) -> None:
    def make() -> tuple[torch.nn.Linear, torch.optim.AdamW]:
        torch.manual_seed(0)
        layer = torch.nn.Linear(3, 2)
        return layer, torch.optim.AdamW(layer.parameters(), lr=0.1)

    def step(layer: torch.nn.Linear, optimizer: torch.optim.AdamW) -> None:
        layer(torch.ones(1, 3)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    layer, optimizer = make()
    step(layer, optimizer)
    place = checkpoint.save(tmp_path, 1, {"layer": layer.state_dict(), "optimizer": optimizer.state_dict()})
    step(layer, optimizer)
    again, other = make()
    state = checkpoint.load(place)
    again.load_state_dict(state["layer"])
    other.load_state_dict(state["optimizer"])
    step(again, other)
    assert torch.equal(layer.weight, again.weight)


def test_random_states_go_on_alike(tmp_path: Path) -> None:
    def draw() -> list[float]:
        return [random.random(), float(np.random.rand()), float(torch.rand(()))]  # noqa: NPY002

    place = checkpoint.save(tmp_path, 0, {"random": checkpoint.random_state()})
    first = draw()
    checkpoint.restore_random_state(checkpoint.load(place)["random"])
    assert draw() == first


def test_the_newest_are_kept_and_leftovers_of_a_kill_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / ".partial-1").mkdir()
    (tmp_path / ".partial-1" / "state.json").write_text("{")
    assert checkpoint.latest(tmp_path) is None
    for step in (5, 40, 300):
        checkpoint.save(tmp_path, step, {"x": torch.tensor(step)})
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["step-00000040", "step-00000300"]
    newest = checkpoint.latest(tmp_path)
    assert newest is not None
    assert checkpoint.load(newest)["x"] == 300


def test_what_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a whole checkpoint"):
        checkpoint.load(tmp_path)
    (tmp_path / "state.json").write_text('{"schema": 99}')
    with pytest.raises(UserError, match="schema 99"):
        checkpoint.load(tmp_path)


def test_a_value_that_needs_code_to_be_read_is_refused() -> None:
    with pytest.raises(TypeError, match=r"/a/0: a complex"):
        checkpoint.pack({"a": [1j]}, {})


class Killed(Exception):
    """Stands for a kill of the process."""


@pytest.mark.parametrize("call", ["mkdir", "rename"])
def test_a_kill_while_a_step_is_saved_again_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    checkpoint.save(tmp_path, 24, {"x": 1})
    checkpoint.save(tmp_path, 31, {"x": 2})
    with monkeypatch.context() as patch:

        def kill(*_: object, **__: object) -> None:
            raise Killed

        patch.setattr(Path, call, kill)
        with pytest.raises(Killed):
            checkpoint.save(tmp_path, 31, {"x": 3})
    state = checkpoint.load_latest(tmp_path)
    assert state is not None
    assert (state["step"], state["x"]) == (31, 2)
    checkpoint.save(tmp_path, 31, {"x": 3})
    state = checkpoint.load_latest(tmp_path)
    assert state is not None
    assert (state["step"], state["x"]) == (31, 3)


@pytest.mark.parametrize("name", [checkpoint.STATE, checkpoint.TENSORS])
@pytest.mark.parametrize("cut", [None, 0, 100])
def test_a_damaged_checkpoint_is_told_of_and_the_one_before_is_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, cut: int | None
) -> None:
    for step in (1, 2):
        place = checkpoint.save(tmp_path, step, {"x": torch.ones(64), "text": "long enough to be cut " * 8})
    if cut is None:
        (place / name).unlink()
    else:
        (place / name).write_bytes((place / name).read_bytes()[:cut])
    state = checkpoint.load_latest(tmp_path)
    assert state is not None
    assert state["step"] == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"{place}: not a whole checkpoint" in told
    assert "going on from step-00000001" in told
    (tmp_path / "step-00000001" / name).write_bytes(b"\xff")
    with pytest.raises(UserError, match="not a whole checkpoint"):
        checkpoint.load_latest(tmp_path)


def test_a_tensor_that_is_missing_is_told_of(tmp_path: Path) -> None:
    place = checkpoint.save(tmp_path, 1, {"x": torch.ones(2)})
    text = (place / checkpoint.STATE).read_text()
    (place / checkpoint.STATE).write_text(text.replace('"/x"', '"/y"'))
    with pytest.raises(UserError, match="not a whole checkpoint"):
        checkpoint.load(place)
