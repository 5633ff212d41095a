"""Training with every trick at once: cut anywhere it goes on to the same bits, and the average serves."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from experiments.data.corpus import Corpus
from experiments.data.encoding import embed_shapes, embed_texts
from experiments.run_folder import checkpoint
from experiments.settings.command import check
from experiments.settings.schema import register_sizes
from experiments.training.loop import advance, mine, train
from experiments.training.session import Session

register_sizes()
CPU = torch.device("cpu")
TRICKS = (
    "train.captions=2",
    "train.mask_equal=true",
    "train.hard_scope=batch",
    "train.mine_by=shapes",
    "train.mine_every=3",
    "train.corrupt=0.5",
    "train.shift=[grey,partial]",
    "train.turn=any",
    "train.scale=0.2",
    "train.jitter=0.01",
    "train.ema=0.9",
    "model.color_dropout=0.2",
    "model.token_dropout=0.2",
    "model.patch_dropout=0.2",
)
SPLITS = {"train": torch.arange(10), "reward": torch.arange(10, 13), "test": torch.arange(13, 16)}


def session_of(corpus: Corpus, folder: Path, *more: str) -> Session:
    folder.mkdir(exist_ok=True)
    sizes = ["model=tiny", "train.batch_size=4", "train.group=2", "train.epochs=2", "train.hard_epochs=3"]
    sizes += ["agent=none", "train.reuse=false", "train.images_every=0", f"cache={folder.parent / 'cache'}"]
    (config,) = check([*sizes, *more])
    torch.manual_seed(0)
    return Session(config, folder, dataclasses.replace(corpus, splits=SPLITS), CPU)


def weights(session: Session) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in session.model.state_dict().items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def whole(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Session:
    session = session_of(corpus, tmp_path_factory.mktemp("whole") / "run", *TRICKS)
    train(session)
    return session


@pytest.mark.parametrize("cut", [1, 5, 8, 10])
def test_cut_anywhere_it_goes_on_to_the_same_bits(
    whole: Session, corpus: Corpus, tmp_path: Path, cut: int
) -> None:
    assert whole.batches.total == 10
    first = session_of(corpus, tmp_path / "run", *TRICKS)
    advance(first, cut)
    first.save()
    torch.rand(3)  # a draw of somebody else
    second = session_of(corpus, tmp_path / "run", *TRICKS)
    assert second.step == cut
    train(second)
    assert equal(weights(second), weights(whole))
    third = session_of(corpus, tmp_path / "run", *TRICKS)  # of the run that is done
    assert equal(weights(third), weights(whole))


def test_the_average_serves_and_the_checkpoint_has_both(whole: Session) -> None:
    newest = checkpoint.latest(whole.checkpoints)
    assert newest is not None
    state = checkpoint.load(newest)
    assert equal(state["model"], weights(whole))
    assert state["trained"].keys() == state["model"].keys()
    assert not equal(state["trained"], state["model"])


@pytest.fixture(scope="module")
def plain(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Session:
    session = session_of(corpus, tmp_path_factory.mktemp("plain") / "run")
    train(session)
    return session


@pytest.mark.parametrize(
    "trick",
    [
        "train.captions=2",
        "train.turn=quarter",
        "train.corrupt=0.5",
        "train.ema=0.5",
        "model.patch_dropout=0.2",
    ],
)
def test_a_trick_alone_changes_what_is_trained(
    plain: Session, corpus: Corpus, tmp_path: Path, trick: str
) -> None:
    session = session_of(corpus, tmp_path / "run", trick)
    train(session)
    assert session.step == plain.step
    assert not equal(weights(session), weights(plain))


@pytest.mark.parametrize("by", ["pairs", "texts", "shapes"])
def test_look_alikes_are_by_what_was_asked_for(corpus: Corpus, tmp_path: Path, by: str) -> None:
    named = torch.tensor([row for row in range(16) if row % 4 != 2])  # have one of their own
    corpus = dataclasses.replace(corpus, texts_of=corpus.texts_of[:, [1, 0, 2]])
    session = session_of(corpus, tmp_path / "run", f"train.mine_by={by}", "train.group=4")
    session.batches.train = named
    text = embed_texts(session.model, corpus, corpus.first_texts(named), CPU).embedding
    shape = embed_shapes(session.model, corpus, named, CPU).embedding
    one, other = {"pairs": (text, shape), "texts": (text, text), "shapes": (shape, shape)}[by]
    similarity = one @ other.T + other @ one.T
    nearest = similarity.fill_diagonal_(-torch.inf).argsort(1, descending=True)[:, :3]
    assert torch.equal(mine(session), nearest)
