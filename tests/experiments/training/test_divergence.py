"""A training that diverges names the items that it was over."""

from pathlib import Path

import pytest
import torch

from align3d.errors import UserError
from experiments.data.corpus import load_corpus
from experiments.settings.command import check
from experiments.settings.schema import register_sizes
from experiments.training.loop import train
from experiments.training.session import Session

register_sizes()
CPU = torch.device("cpu")
TINY = ["model=tiny", "data.size=24", "data.test=4", "data.reward=4", "train.batch_size=4", "train.group=2"]


def session_of(tmp_path: Path, *more: str) -> Session:
    (config,) = check([*TINY, *more, "train.reuse=false", f"cache={tmp_path / 'cache'}"])
    return Session(config, tmp_path, load_corpus(config, CPU), CPU)


def test_captions_that_cannot_be_encoded_are_named(tmp_path: Path) -> None:
    session = session_of(tmp_path)
    corpus = session.corpus
    shape = int(corpus.splits["train"][0])
    own = corpus.texts_of[shape]
    corpus.text.tokens[own[own >= 0]] = torch.inf
    name = corpus.dataset.ids[shape]
    with pytest.raises(
        UserError, match=rf"1 of 4 captions hold numbers that are not finite: {name} \('"
    ) as error:
        train(session)
    assert "shapes hold" not in str(error.value)
    assert "\n" not in str(error.value)
    assert all(parameter.isfinite().all() for parameter in session.model.parameters())


def test_steps_that_are_too_long_name_the_batch(tmp_path: Path) -> None:
    session = session_of(tmp_path, "train.learning_rate=1e6")
    with pytest.raises(
        UserError, match=r"lower it or train\.clip; the batch's items: procedural-0-\d+ \('"
    ) as error:
        train(session)
    assert str(error.value).count("procedural-0-") == 4


def test_what_is_written_with_giant_numbers_can_be_trained_on(tmp_path: Path) -> None:
    session = session_of(tmp_path, "train.epochs=1", "train.hard_epochs=0", "dap.mode=off")
    corpus = session.corpus
    giant = torch.finfo(torch.float32).max
    corpus.text.quantities[corpus.text.mask] = torch.tensor([giant, giant])
    train(session)
    assert all(parameter.isfinite().all() for parameter in session.model.parameters())
