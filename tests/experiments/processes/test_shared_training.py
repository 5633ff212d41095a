"""Two processes with half of each batch against one with all of it, and against themselves resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from experiments.data.corpus import Corpus
from experiments.run_folder import checkpoint
from experiments.settings.schema import register_sizes
from experiments.training.loop import advance
from experiments.training.session import Session
from tests.experiments.processes.pair import (
    CUT,
    OWN,
    SHARED,
    free_port,
    gradients,
    lines_of,
    session_of,
    started,
    weights,
)

register_sizes()
SHIFTED = "text.attention.bias"
"""Parameter that softmax does not see: its gradient is rounding, of which AdamW makes whole steps."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes leave."""
    folder, port = tmp_path_factory.mktemp("pair"), free_port()
    both = [started(folder, rank, port) for rank in range(2)]
    told = [process.communicate(timeout=900)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    return folder


@pytest.fixture(scope="module")
def pair(folder: Path) -> list[dict[str, Any]]:
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.fixture(scope="module")
def alone(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> tuple[Session, dict[str, Tensor]]:
    """A whole training of one process, and its first gradients."""
    session = session_of(corpus, tmp_path_factory.mktemp("alone") / "run", *SHARED)
    first = gradients(session)
    advance(session, session.batches.total)
    session.journal.close()
    return session, first


def test_each_shape_is_dealt_once(pair: list[dict[str, Any]], alone: tuple[Session, object]) -> None:
    for step, shares in enumerate(zip(*(each["dealt"] for each in pair), strict=True)):
        assert torch.equal(torch.cat(shares), alone[0].batches.at(step).indices)
        assert len(torch.cat(shares).unique()) == 8


def test_gradients_are_those_of_the_whole_batch(
    pair: list[dict[str, Any]], alone: tuple[Session, dict[str, Tensor]]
) -> None:
    _, first = alone
    for each in pair:
        assert each["gradients"].keys() == first.keys()
        for name, gradient in each["gradients"].items():
            torch.testing.assert_close(gradient, first[name], rtol=1e-4, atol=1e-6)
    assert float(first["log_scale"].abs()) > 1e-3
    assert float(first["points.embedding.0.weight"].norm()) > 1e-3


def test_losses_and_weights_are_those_of_one_process(
    pair: list[dict[str, Any]], folder: Path, alone: tuple[Session, object]
) -> None:
    ours, theirs = lines_of(folder / "shared"), lines_of(alone[0].folder)
    assert len(ours) == len(theirs) == 7
    for one, other in zip(ours, theirs, strict=True):
        assert one == pytest.approx(other, rel=1e-5, abs=1e-5)
    assert {"loss/grounding", "loss/scores", "loss/alone"} <= ours[-1].keys()
    for name, weight in weights(alone[0]).items():
        assert torch.equal(pair[0]["shared"][name], pair[1]["shared"][name])
        if name != SHIFTED:
            torch.testing.assert_close(pair[0]["shared"][name], weight, rtol=1e-3, atol=1e-4)


def test_resumed_they_end_with_the_same_bits(pair: list[dict[str, Any]], folder: Path) -> None:
    assert lines_of(folder / "cut") == lines_of(folder / "whole")
    for each in pair:
        for name, weight in each["whole"].items():
            trained = each["average"]["trained"][name]  # what is trained, beside the average that serves
            assert torch.equal(trained, weight)
    assert all(torch.equal(pair[0]["resumed"][name], found) for name, found in pair[1]["resumed"].items())


def test_a_warm_up_is_taken_from_the_cache_by_both(pair: list[dict[str, Any]], folder: Path) -> None:
    assert lines_of(folder / "kept") == lines_of(folder / "taken")
    for each in pair:
        kept, taken = each["kept"], each["taken"]
        assert (kept[:2], taken[:2]) == ((CUT, 0), (CUT, CUT))
        assert all(torch.equal(taken[2][name], found) for name, found in kept[2].items())
        assert torch.equal(taken[3], kept[3])  # the next draw
    assert not torch.equal(pair[0]["kept"][3], pair[1]["kept"][3])


def test_what_has_to_be_equal_and_is_not_is_named_in_both(pair: list[dict[str, Any]]) -> None:
    for each in pair:
        assert each["other data"] == (
            "the data of the 2 processes differ: hash is a0 in process 0 and a1 in process 1; copy it"
        )
        assert each["other weights"].startswith("after step 7 process 1 has other weights than process 0;")


def test_generators_are_of_each_process(folder: Path) -> None:
    newest = checkpoint.latest(folder / "cut" / "checkpoints")
    assert newest is not None
    state = checkpoint.load(newest)
    (other,) = state["others"]
    assert not torch.equal(other["torch"], state["random"]["torch"])


def test_one_process_goes_on_from_where_two_were(
    folder: Path, corpus: Corpus, capfd: pytest.CaptureFixture[str]
) -> None:
    places = sorted((folder / "cut" / "checkpoints").iterdir())
    assert checkpoint.step_of(places[0]) == CUT
    for place in places[1:]:
        checkpoint.remove(place)
    session = session_of(corpus, folder / "cut", *OWN)
    assert session.step == CUT
    assert f"trained by 2 processes up to step {CUT}, and by 1 from there on" in capfd.readouterr().err
    advance(session, CUT + 1)
    assert lines_of(folder / "cut")[CUT]["loss/total"] > 0
