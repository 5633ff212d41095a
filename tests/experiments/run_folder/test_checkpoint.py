import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from align3d.errors import UserError
from durable.checksums import CHECKSUM
from durable.errors import DamagedFileError
from experiments.run_folder import checkpoint
from tests.durable.test_checksums import flipped

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


@pytest.mark.parametrize("call", [(Path, "mkdir"), (os, "replace")])
def test_a_kill_while_a_step_is_saved_again_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: tuple[object, str]
) -> None:
    checkpoint.save(tmp_path, 24, {"x": 1})
    checkpoint.save(tmp_path, 31, {"x": 2})
    with monkeypatch.context() as patch:

        def kill(*_: object, **__: object) -> None:
            raise Killed

        patch.setattr(*call, kill)
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
    assert str(place) in told
    assert f"{place / name} is " in told
    assert "going on from step-00000001" in told
    (tmp_path / "step-00000001" / name).write_bytes(b"\xff")
    with pytest.raises(UserError, match="no other checkpoint is whole"):
        checkpoint.load_latest(tmp_path)


STATES = {
    "model": {"weight": torch.arange(300.0), "rows": torch.arange(7)},
    "seconds": {"train": 1.5, "data": 0.25},
    "random": (3, tuple(range(40)), None),
    "words": ["größe", "b"],
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", [checkpoint.STATE, checkpoint.TENSORS])
def test_a_flipped_bit_is_named_and_the_one_before_is_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, seed: int
) -> None:
    draws = random.Random(seed)
    checkpoint.save(tmp_path, 1, STATES)
    place = checkpoint.save(tmp_path, 2, STATES)
    whole = (place / name).read_bytes()
    for bit in draws.sample(range(8 * len(whole)), 60):
        (place / name).write_bytes(whole)
        flipped(place / name, bit)
        state = checkpoint.load_latest(tmp_path)
        assert state is not None
        told = capsys.readouterr().err
        if state["step"] == 2:  # a blank, which says nothing in JSON
            assert not told
        else:
            assert f"{place / name} is damaged: " in told
            assert "going on from step-00000001" in told
        assert torch.equal(state["model"]["weight"], STATES["model"]["weight"])
        assert (state["random"], state["words"]) == (STATES["random"], STATES["words"])


def test_a_checkpoint_of_before_there_were_checksums_is_read(tmp_path: Path) -> None:
    place = checkpoint.save(tmp_path, 1, {"x": torch.ones(2)})
    plain = json.loads((place / checkpoint.STATE).read_text())
    old = {name: value for name, value in plain.items() if name not in ("files", CHECKSUM)}
    (place / checkpoint.STATE).write_text(json.dumps(old))
    with pytest.raises(DamagedFileError, match="has no checksum"):
        checkpoint.load(place)
    (place / checkpoint.STATE).write_text(json.dumps(old | {"schema": 1}))
    assert torch.equal(checkpoint.load(place)["x"], torch.ones(2))
    assert checkpoint.fingerprint(place) == plain["files"][checkpoint.TENSORS]["sha256"]


FULL = """
import resource, sys
from pathlib import Path
import torch
from experiments.run_folder import checkpoint
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
checkpoint.save(Path(sys.argv[1]), 2, {"x": torch.zeros(200_000)})
"""


def test_a_limit_is_one_line_and_leaves_the_one_before(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, {"x": torch.ones(4)})
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], cwd=root, capture_output=True, text=True
    )
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith(f"durable.errors.NoSpaceError: {tmp_path / 'step-00000002'}: cannot be written")
    assert "0.8 MB are needed" in line
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    state = checkpoint.load_latest(tmp_path)
    assert state is not None
    assert torch.equal(state["x"], torch.ones(4))


def test_a_name_that_is_changed_is_told_of(tmp_path: Path) -> None:
    place = checkpoint.save(tmp_path, 1, {"x": torch.ones(2)})
    text = (place / checkpoint.STATE).read_text()
    (place / checkpoint.STATE).write_text(text.replace('"/x"', '"/y"'))
    with pytest.raises(UserError, match=r"state\.json is damaged: its checksum differs"):
        checkpoint.load(place)
